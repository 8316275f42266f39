"""The local model's process: serves one GGUF file on loopback until its parent closes its input.

Run as a program: `python -m flywheel.lm.backends.server MODEL CONTEXT SLOTS THREADS [ADAPTER …]`.
Prints the address on one line when it is ready. Whatever ends the parent closes the pipe, so none
is left. Adapters are loaded and off: a question says which one it is for.
"""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> int:
    """Serve until standard input ends."""
    import xllamacpp  # noqa: PLC0415  of an extra, and only in this process

    model, context, slots, threads = sys.argv[1], *map(int, sys.argv[2:5])
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    # What the slots hold is shared out of one memory.
    parameters.n_ctx = context * slots
    parameters.n_parallel = slots
    for share in (parameters.cpuparams, parameters.cpuparams_batch):
        # Threads that spin while they wait for one that is not running cost more than they give.
        share.n_threads, share.poll = threads, 0
    parameters.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(adapter, 0.0) for adapter in sys.argv[5:]
    ]
    if parameters.lora_adapters:
        # What it would keep of questions beside its slots it would use for other adapters, too.
        parameters.cache_ram_mib = 0
    parameters.offline = True
    parameters.verbosity = 1  # its errors
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    # Its own tear-down may wait for answers that nobody wants any more.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
