"""use_bucket.py STORE ESKER | use_bucket.py STORE gone: what local-minio made, used with the user's rights; or gone."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from minio import Minio, MinioAdmin
from minio.credentials import StaticProvider
from minio.error import S3Error

STORE, BUCKET, PREFIX, SECRET = sys.argv[1], "esker-local", "one", "esker-local-secret"


def connect(key: str, secret: str) -> Minio:
    # A region given: else the client asks for the bucket's, a right that Esker does not need.
    return Minio(urlsplit(STORE).netloc, access_key=key, secret_key=secret, secure=False, region="us-east-1")


def refused(what: str, call):
    try:
        call()
    except S3Error as error:
        assert error.code == "AccessDenied", (what, error)
    else:
        raise AssertionError(f"the policy allows too much: {what}")


def rights():
    administrator, user = connect(os.environ["STORE_KEY"], os.environ["STORE_SECRET"]), connect(BUCKET, SECRET)
    user.put_object(BUCKET, f"{PREFIX}/a/b", io.BytesIO(b"x"), 1)
    assert user.get_object(BUCKET, f"{PREFIX}/a/b").data == b"x"
    assert [o.object_name for o in user.list_objects(BUCKET, f"{PREFIX}/", recursive=True)] == [f"{PREFIX}/a/b"]
    user.remove_object(BUCKET, f"{PREFIX}/a/b")
    administrator.put_object(BUCKET, "other/a", io.BytesIO(b"y"), 1)
    refused("read beside the prefix", lambda: user.get_object(BUCKET, "other/a"))
    refused("write beside the prefix", lambda: user.put_object(BUCKET, "other/b", io.BytesIO(b"x"), 1))
    refused("delete beside the prefix", lambda: user.remove_object(BUCKET, "other/a"))
    refused("list the whole bucket", lambda: list(user.list_objects(BUCKET, recursive=True)))
    refused("make a bucket", lambda: user.make_bucket("another-bucket"))
    refused("read the policy", lambda: user.get_bucket_policy(BUCKET))
    refused("set a lifecycle", lambda: user.delete_bucket_lifecycle(BUCKET))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def esker_runs(esker: str):
    kafka, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    environment = {
        "ESKER_STORE": f"s3://{BUCKET}/{PREFIX}",
        "ESKER_S3_ENDPOINT": STORE,
        "ESKER_S3_REGION": "us-east-1",
        "ESKER_S3_ACCESS_KEY_ID": BUCKET,
        "ESKER_S3_SECRET_ACCESS_KEY": SECRET,
        "ESKER_KAFKA_LISTEN": kafka,
        "ESKER_HTTP_LISTEN": http,
        "ESKER_BOOTSTRAP": kafka,
    }

    def command(*arguments: str, text: str = "") -> str:
        done = subprocess.run([esker, *arguments], env=environment, input=text, capture_output=True, text=True)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def ready() -> bool:
        try:
            return urllib.request.urlopen(f"http://{http}/readyz", timeout=2).status == 200
        except OSError:
            return False

    for turn in (1, 2):  # the second reads what the first has left in the bucket
        server = subprocess.Popen([esker, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            limit = time.monotonic() + 60
            while not ready():
                assert server.poll() is None and time.monotonic() < limit, "esker did not become ready"
                time.sleep(0.1)
            command("produce", "t", text="".join(f"{turn}-{n}\n" for n in range(100)))
            wanted = [f"{before}-{n}" for before in range(1, turn + 1) for n in range(100)]
            assert command("consume", "t", "--from", "earliest", "--format", "%v\n").split() == wanted
            if turn == 1:
                command("doctor", "--bootstrap", kafka, "--http", http)  # fails when it finds anything broken
            server.send_signal(signal.SIGTERM)
            assert server.wait(40) == 0
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()


def gone():
    key, secret = os.environ["STORE_KEY"], os.environ["STORE_SECRET"]
    administrator = MinioAdmin(endpoint=urlsplit(STORE).netloc, credentials=StaticProvider(key, secret), secure=False)
    assert not connect(key, secret).bucket_exists(BUCKET), "the bucket is there"
    assert BUCKET not in json.loads(administrator.user_list()), "the user is there"
    assert BUCKET not in json.loads(administrator.policy_list()), "the policy is there"


if sys.argv[2] == "gone":
    gone()
else:
    rights()
    esker_runs(sys.argv[2])
