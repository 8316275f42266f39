"""The part of the critic that lives in the target's environment.

Dependency-free Python (3.8 and later) shipped as data: it is mounted into the sandbox as the
package `flywheel_runner` and run by the target's own interpreter. It never imports flywheel,
holds no secret, and speaks newline-delimited JSON over one inherited socket.
"""
