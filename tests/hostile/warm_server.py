"""A warm process for the hostile tests: runs inside the box, one candidate for each line it reads.

A request is a JSON line with the candidate's `body`, Python source that may call `report(value)`,
and the `wall` seconds it has.
"""

import base64
import json
import os
import sys
import threading

sys.path.insert(0, "/flywheel_runner")

import isolate


def main() -> None:
    config = json.loads(sys.argv[1])
    config["seccomp"] = base64.b64decode(config["seccomp"])
    config["cgroup_fds"] = tuple(config["cgroup_fds"])
    threaded = config.pop("threaded")
    isolation = isolate.Isolation(isolate.Config(**config))
    if threaded:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    # As the critic's servers do: the memory bombs must spare a warm process in the same slot.
    isolation.join()
    answer({"ready": os.getpid()})
    for line in sys.stdin:
        request = json.loads(line)
        data = bytearray()
        try:
            child = isolation.spawn(candidate(request["body"]))
            if request["announce"]:
                answer({"running": child.pid})
            end = child.wait(request["wall"], data.extend)
        except isolate.IsolationError as error:
            answer({"error": type(error).__name__, "why": str(error)})
            continue
        answer(
            {
                "cause": end.cause,
                "status": end.status,
                "detail": end.detail,
                "output": end.output.decode(errors="replace")[-4000:],
                "output_bytes": len(end.output),
                "seconds": end.wall_seconds,
                "reports": [json.loads(part) for part in data.splitlines()[:100]],
            }
        )


def candidate(body):
    def run(result):
        def report(value):
            os.write(result, json.dumps(value).encode() + b"\n")

        exec(compile(body, "<candidate>", "exec"), {"report": report, "result_fd": result})  # noqa: S102 (it is what this is for)

    return run


def answer(message) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


main()
