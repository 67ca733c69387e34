"""A stand-in for vLLM: ``serve`` and ``bench serve`` with its flags, endpoints, log and files.

Its latencies are made up: request i has a TTFT of 0.01 + 0.001 i seconds and gaps of 0.005 s. What
goes wrong is told by the environment variable STAND_IN, a word: see ``WRONGS``. STAND_IN_TRACE
names a file to which each start and end is appended. Flags that it does not have are refused as
vLLM does it: by argparse, with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WRONGS = (
    "dies-at-start",
    "never-healthy",
    "dies-in-bench",
    "ignores-signals",
    "bench-exits-1",
    "bench-hangs",
    "bench-garbage",
    "bench-no-file",
    "bench-all-failed",
    "bench-no-details",
    "fails-at-rate-8",
)
WRONG = os.environ.get("STAND_IN", "")
VERSION = os.environ.get("STAND_IN_VERSION", "0.32.0")
METRICS = """\
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{{block_size="{block}",enable_prefix_caching="{caching}",engine="0",\
num_gpu_blocks="{blocks}"}} 1.0
vllm:num_preemptions_total{{engine="0",model_name="m"}} {preemptions}
vllm:num_preemptions_created{{engine="0",model_name="m"}} 1.7e+09
vllm:prefix_cache_queries_total{{engine="0",model_name="m"}} {tokens}
vllm:prefix_cache_hits_total{{engine="0",model_name="m"}} 0.0
vllm:prompt_tokens_total{{engine="0",model_name="m"}} {tokens}
"""


def trace(text: str) -> None:
    if "STAND_IN_TRACE" in os.environ:
        with open(os.environ["STAND_IN_TRACE"], "a") as file:
            file.write(f"{text}\n")


def serve(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="vllm serve")
    parser.add_argument("model")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--block-size", type=int, default=16)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--served-model-name")
    on_off = argparse.BooleanOptionalAction
    parser.add_argument("--enable-prefix-caching", action=on_off, default=True)
    args = parser.parse_args(argv)
    trace(f"serve {os.getpid()}")
    if WRONG == "dies-at-start":
        print("Traceback (most recent call last):\nValueError: no such model", flush=True)
        print("RuntimeError: Engine core failed. See root cause above.", flush=True)
        sys.exit(1)
    counted = {"requests": 0, "tokens": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/health": "",
                "/version": json.dumps({"version": VERSION}),
                "/metrics": METRICS.format(
                    block=args.block_size,
                    caching=args.enable_prefix_caching,
                    blocks=8192 // args.block_size,
                    preemptions=float(counted["requests"] // 2),
                    tokens=float(counted["tokens"]),
                ),
            }
            if self.path not in answers or WRONG == "never-healthy":
                self.send_error(503)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[self.path].encode())

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for key in counted:
                counted[key] += sent[key]
            self.send_response(200)
            self.end_headers()
            if WRONG == "dies-in-bench":
                print("MemoryError: out of KV blocks", flush=True)
                os._exit(3)

        def log_message(self, format: str, *args: object) -> None:
            pass

    print(
        f"INFO Initializing a V1 LLM engine (v{VERSION}) with config: model={args.model!r}, "
        f"max_seq_len=2048, enable_prefix_caching={args.enable_prefix_caching}, "
        "enable_chunked_prefill=True"
    )
    print("INFO Chunked prefill is enabled with max_num_batched_tokens=4096.")
    print("INFO Asynchronous scheduling is disabled.")
    print("INFO GPU KV cache size: 8,192 tokens, Maximum concurrency 4.00x", flush=True)
    child = subprocess.Popen(  # vLLM's engine is a child too
        [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    trace(f"engine {child.pid}")
    if WRONG == "ignores-signals":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        ThreadingHTTPServer((args.host, args.port), Handler).serve_forever()
    except KeyboardInterrupt:
        trace("serve ended")


def bench(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="vllm bench serve")
    for flag in ("base-url", "model", "result-dir", "result-filename"):
        parser.add_argument(f"--{flag}", required=True)
    for flag in ("backend", "dataset-name", "dataset-path", "served-model-name"):
        parser.add_argument(f"--{flag}")
    for flag in ("temperature", "request-rate"):
        parser.add_argument(f"--{flag}", type=float, default=float("inf"))
    for flag, default in (
        ("num-prompts", 10),
        ("seed", 0),
        ("random-input-len", 8),
        ("random-output-len", 4),
    ):
        parser.add_argument(f"--{flag}", type=int, default=default)
    for flag in ("save-result", "save-detailed", "ignore-eos"):
        parser.add_argument(f"--{flag}", action="store_true")
    args = parser.parse_args(argv)
    trace(f"bench {args.request_rate:g}")
    with urllib.request.urlopen(f"{args.base_url}/health", timeout=10):
        pass
    count, prompt, output = args.num_prompts, args.random_input_len, args.random_output_len
    sent = json.dumps({"requests": count, "tokens": count * prompt}).encode()
    with urllib.request.urlopen(f"{args.base_url}/count", data=sent, timeout=10):
        pass
    if WRONG == "bench-hangs":
        time.sleep(60)
    if WRONG == "bench-exits-1" or (WRONG == "fails-at-rate-8" and args.request_rate == 8):
        sys.exit("ValueError: the dataset is empty")
    failed = WRONG == "bench-all-failed"
    result = {
        "date": "20260101-000000",
        "backend": args.backend,
        "model_id": args.model,
        "num_prompts": count,
        "request_rate": args.request_rate,
        "duration": count / args.request_rate,
        "completed": 0 if failed else count,
        "total_input_tokens": count * prompt,
        "request_throughput": args.request_rate,
        "input_lens": [prompt] * count,
        "output_lens": [0 if failed else output] * count,
        "start_times": [100.0 + i / args.request_rate for i in range(count)],
        "ttfts": [0.0 if failed else 0.01 + 0.001 * i for i in range(count)],
        "itls": [[] if failed else [0.005] * (output - 1)] * count,
        "errors": ["Connection refused" if failed else ""] * count,
    }
    if WRONG == "bench-no-details":
        for key in ("input_lens", "output_lens", "start_times", "ttfts", "itls", "errors"):
            del result[key]
    text = '{"date": ' if WRONG == "bench-garbage" else json.dumps(result)
    if WRONG != "bench-no-file":
        (Path(args.result_dir) / args.result_filename).write_text(text)


if __name__ == "__main__":
    if WRONG and WRONG not in WRONGS:
        sys.exit(f"STAND_IN={WRONG} means nothing here")
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    elif sys.argv[1:3] == ["bench", "serve"]:
        bench(sys.argv[3:])
    else:
        sys.exit(f"no such command: {sys.argv[1:]}")
