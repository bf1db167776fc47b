"""gateway_hostile.py - clients that mean no good, or know no better, and what the others notice of them: slow headers, slow
bodies, too much, nonsense, many requests at once, thousands of idle connections, clients that hang up.

  gateway_hostile.py PID IDLE    of the gateway at LEDGER_GATEWAY_URL (with its LEDGER_HTTP_IDLE_S and _REQUEST_S)
"""
import json
import os
import resource
import select
import socket
import sys
import threading
import time
import urllib.parse

PID, IDLE = int(sys.argv[1]), int(sys.argv[2])
URL = urllib.parse.urlsplit(os.environ["LEDGER_GATEWAY_URL"])
ADDRESS = (URL.hostname, URL.port)
LIMIT_S = max(int(os.environ["LEDGER_HTTP_IDLE_S"]), int(os.environ["LEDGER_HTTP_REQUEST_S"]))
P99_S = 0.050
KIB_A_CONNECTION = 32
SLOW = 60
failures = []


def fail(text):
    failures.append(text)
    print(f"FAILED: {text}", flush=True)


def connect():
    return socket.create_connection(ADDRESS, timeout=20)


def post(path, key, body, extra=""):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n{extra}"
    return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def read_answers(link, count):
    """(status, headers, body) of so many answers, or of as many as came before the end."""
    data, answers = b"", []
    try:
        while len(answers) < count:
            head, found, rest = data.partition(b"\r\n\r\n")
            length = 0
            if found:
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
            if found and len(rest) >= length:
                answers.append((int(head.split(b" ")[1]), head.decode("latin-1"), rest[:length]))
                data = rest[length:]
                continue
            part = link.recv(65536)
            if not part:
                break
            data += part
    except OSError:
        pass
    return answers


def once(message):
    with connect() as link:
        try:
            link.sendall(message)
        except OSError:
            pass  # it has answered and closed already
        answers = read_answers(link, 1)
    return answers[0] if answers else (0, "", b"")


def expect(what, message, wanted):
    status = once(message)[0]
    if status not in wanted:
        fail(f"{what} is answered {status}, not one of {wanted}")


# --- nonsense ---


def nonsense():
    body = {"type": "deposit", "account": "h", "amount": 1}
    deep = b'{"type":"deposit","account":"h","amount":1,"metadata":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}"
    expect("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", (0, 400))
    expect("a line without a version", b"GARBAGE\r\n\r\n", (0, 400))
    expect("a header of 100 kB", b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100000 + b"\r\n\r\n", (0, 400, 413, 431, 414))
    expect("a path of 100 kB", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (0, 400, 413, 414, 431))
    expect("a gigabyte announced", b"POST /transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
           b"Idempotency-Key: n2\r\nContent-Length: 1073741824\r\n\r\n{", (413,))
    expect("a length that is no number", post("/transactions", "n3", body).replace(b"Content-Length: ", b"Content-Length: x"),
           (0, 400))
    expect("two lengths", post("/transactions", "n4", body, "Content-Length: 3\r\n"), (0, 400))
    expect("a length and chunks", post("/transactions", "n5", body, "Transfer-Encoding: chunked\r\n"), (0, 400))
    expect("two keys", post("/transactions", "n6", body, "Idempotency-Key: n7\r\n"), (400,))
    expect("a key of 200 bytes", post("/transactions", "k" * 200, body), (400,))
    expect("a key that is no UTF-8", post("/transactions", "n8", body).replace(b"Key: n8", b"Key: \xff\xfe"), (400,))
    expect("a deep body", post("/transactions", "n9", deep), (400,))
    expect("a body that is no JSON", post("/transactions", "n10", b"{]"), (400,))
    expect("no body", post("/transactions", "n11", b""), (400,))
    expect("a body that is no UTF-8", post("/transactions", "n12", b'{"type":"deposit","account":"\xff","amount":1}'), (400,))
    expect("a NUL in the path", get("/accounts/a%00b"), (400, 404))
    expect("a path that climbs", get("/accounts/../../etc/passwd"), (404,))
    expect("a method that nobody knows", b"BREW /accounts HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405, 501))
    expect("chunks without end", b"POST /transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: n13"
           b"\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 40, (0, 413))
    expect("all is well afterwards", get("/health/ready"), (200,))


# --- many at once ---


def pipelined():
    requests = [post("/transactions", f"p{i}", {"type": "deposit", "account": "h", "amount": 1 + i}) if i % 2 == 0
                else get("/accounts/h") for i in range(40)]
    with connect() as link:
        link.sendall(b"".join(requests))
        answers = read_answers(link, len(requests))
    if [status for status, _, _ in answers] != [200] * len(requests):
        fail(f"40 pipelined requests are answered {[status for status, _, _ in answers]}")
        return
    seqs = [json.loads(body)["balances"][0]["seq"] for _, _, body in answers[::2]]
    if seqs != sorted(seqs):
        fail(f"pipelined commands are answered out of order: {seqs}")


# --- clients that hang up ---


def hang_up():
    keys = [f"hang-{i}" for i in range(50)]
    for i, key in enumerate(keys):
        with connect() as link:
            link.sendall(post("/transactions", key, {"type": "deposit", "account": "gone", "amount": 1}))
            if i % 2 == 0:  # with a reset instead of a goodbye
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    for key in keys:
        status, _, body = once(post("/transactions", key, {"type": "deposit", "account": "gone", "amount": 1}))
        if status != 200:
            fail(f"after a hang-up the key {key} is answered {status} {body}")
    balance = json.loads(once(get("/accounts/gone/balance"))[2])["balance"]
    if balance != len(keys):
        fail(f"{len(keys)} keys of 1 each, by clients that hung up and came back, made {balance}")


# --- the slow, the many, and what the others notice ---


def slow_clients(count):
    """Each sends a byte every quarter second: of a request line, of headers, of a body. How long the longest was borne."""
    heads = [b"GET /heal", b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
             post("/transactions", "slow", b"{" * 1000).split(b"{")[0]]
    begun = time.monotonic()
    links = {connect(): None for _ in range(count)}
    for i, link in enumerate(links):
        link.sendall(heads[i % len(heads)])
    while links and time.monotonic() < begun + 2 * LIMIT_S + 10:
        for link in select.select(list(links), [], [], 0)[0]:
            try:
                gone = not link.recv(4096)
            except OSError:
                gone = True
            if gone:
                link.close()
                del links[link]
        for link in list(links):
            try:
                link.sendall(b"a")
            except OSError:
                pass  # the next look sees that it is gone
        time.sleep(0.25)
    return time.monotonic() - begun


def p99(seconds):
    """Of requests by two well-behaved clients meanwhile."""
    took, lock = [], threading.Lock()

    def client(name):
        with connect() as link:
            until = time.monotonic() + seconds
            i = 0
            while time.monotonic() < until:
                i += 1
                message = get("/accounts/h/balance") if i % 2 else \
                    post("/transactions", f"{name}-{i}", {"type": "deposit", "account": "h", "amount": 1})
                begun = time.monotonic()
                link.sendall(message)
                answers = read_answers(link, 1)
                with lock:
                    took.append(time.monotonic() - begun)
                if not answers or answers[0][0] != 200:
                    fail(f"meanwhile a request is answered {answers}")
                    return
                time.sleep(0.005)

    serial = time.monotonic_ns()
    threads = [threading.Thread(target=client, args=(f"{serial}-{i}",)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    return took[len(took) * 99 // 100], len(took)


def resident_kib():
    with open(f"/proc/{PID}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def connections():
    lines = once(get("/metrics"))[2].decode().split("\n")
    return next(float(line.split()[1]) for line in lines if line.startswith("ledger_http_connections "))


def crowd():
    quiet, _ = p99(2)
    before = resident_kib()
    reader, writer = os.pipe()
    child = os.fork()  # a process of its own, so as not to hold up who measures
    if child == 0:
        os.write(writer, str(slow_clients(SLOW)).encode())
        os._exit(0)
    links = []
    for i in range(IDLE):
        links.append(connect())
        if i % 2:
            links[-1].sendall(get("/health/live"))  # kept, after an answer
    rounds = []  # one that is all right will do: this machine may have been busy in the others
    while len(rounds) < 3 and (not rounds or min(rounds) > max(P99_S, 3 * quiet)):
        crowded, count = p99(2)
        rounds.append(crowded)
    crowded = min(rounds)
    there = connections()
    each = (resident_kib() - before) / IDLE
    os.waitpid(child, 0)
    longest = float(os.read(reader, 100))
    for link in links:
        link.close()
    print(f"{IDLE} idle and {SLOW} slow connections: p99 of {count} others {crowded * 1000:.1f} ms, {quiet * 1000:.1f} ms "
          f"without them; {each:.1f} KiB a connection; the slow were borne {longest:.1f} s", flush=True)
    if crowded > max(P99_S, 3 * quiet):
        fail("the others wait")
    if each > KIB_A_CONNECTION:
        fail("a connection takes too much memory")
    if there < IDLE:
        fail(f"only {there} connections were there")
    if longest > LIMIT_S + 3:
        fail("slow clients are borne too long")


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for account in ("h", "gone"):
        if once(post("/accounts", f"open-{account}", {"account": account, "user_id": "h", "asset": "EUR"}))[0] != 201:
            fail("could not open an account")
    nonsense()
    pipelined()
    hang_up()
    crowd()
    sys.exit(1 if failures else 0)


main()
