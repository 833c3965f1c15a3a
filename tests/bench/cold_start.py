"""Cold starts of the built functions: a Lambda runtime API on loopback hands each one event to a fresh process.

usage: cold_start.py [ROUNDS]   after `cargo lambda build --release --output-format zip` (tests/cloud/run builds them)
Prints, for each function: milliseconds from exec to ready and to its first answer, CPU milliseconds in all, zip size.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = {
    "api": "api/health.json",
    "deliver": "deliver/not-a-hint.json",
    "webhook": "webhook/sendgrid-unsigned.json",
    "schedule": None,
    "project": None,
    "dead-letter": None,
}
TABLES = {f"{name}_TABLE": name.lower() for name in ("EVENTS", "VAULT", "VIEWS", "LIMITS")}
SETTINGS = {
    **TABLES,
    "CONTACT_KEY": "0123456789abcdef0123456789abcdef",
    "LINK_KEYS": "fedcba9876543210fedcba9876543210",
    "REPAIRS_QUEUE_URL": "http://127.0.0.1:9/projection-repairs",
    "ALERTS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alerts",
    "SENDGRID_API_KEY": "SG.x",
    "SENDGRID_FROM_EMAIL": "a@b.co",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
    "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
    "AWS_LAMBDA_LOG_LEVEL": "ERROR",
}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A function that is killed breaks its connection: that is how each round ends."""


class Runtime(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        state = self.server.state
        state.setdefault("ready", time.perf_counter())
        if state["event"] is None or "answered" in state:
            state["done"].set()
            threading.Event().wait(5)
            return
        body = state["event"].encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "r-1")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        state = self.server.state
        state["answered"] = time.perf_counter()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        state["done"].set()

    def log_message(self, *_):
        pass


def start(binary, event):
    server = Server(("127.0.0.1", 0), Runtime)
    server.state = {"event": event, "done": threading.Event()}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**SETTINGS, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
    began = time.perf_counter()
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.state["done"].wait(10)
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    server.shutdown()
    state = server.state
    answered = (state["answered"] - began) * 1000 if "answered" in state else None
    return (state["ready"] - began) * 1000, answered, (usage.ru_utime + usage.ru_stime) * 1000


def main(rounds):
    print(f"{'function':<12} {'ready ms':>9} {'answer ms':>10} {'CPU ms':>7} {'zip MB':>7}   (median of {rounds})")
    with tempfile.TemporaryDirectory() as folder:
        for name, sample in SAMPLES.items():
            archive = ROOT / f"target/lambda/{name}/bootstrap.zip"
            binary = pathlib.Path(folder) / name
            binary.write_bytes(zipfile.ZipFile(archive).read("bootstrap"))
            binary.chmod(0o755)
            event = (ROOT / "events/invocations" / sample).read_text() if sample else None
            runs = [start(str(binary), event and json.dumps(json.loads(event))) for _ in range(rounds)]
            middle = [sorted(value for value in column if value is not None) for column in zip(*runs)]
            ready, answer, cpu = (column[len(column) // 2] if column else float("nan") for column in middle)
            size = archive.stat().st_size / 1e6
            print(f"{name:<12} {ready:>9.1f} {answer:>10.1f} {cpu:>7.1f} {size:>7.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
