"""bucket.py create|delete: a bucket, and a user with a policy of the same name. PyPI: minio 7.2."""

import os
import sys
import tempfile
from urllib.parse import urlsplit

from minio import Minio, MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException

bucket, store = os.environ["BUCKET"], urlsplit(os.environ["STORE"])
key, secret = os.environ["STORE_KEY"], os.environ["STORE_SECRET"]
secure = store.scheme == "https"
client = Minio(store.netloc, access_key=key, secret_key=secret, secure=secure)
admin = MinioAdmin(endpoint=store.netloc, credentials=StaticProvider(key, secret), secure=secure)


def create():
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as policy:
        policy.write(os.environ["POLICY"])
        policy.flush()
        admin.policy_add(bucket, policy.name)
    admin.user_add(bucket, os.environ["USER_SECRET"])
    admin.policy_set(bucket, user=bucket)


def delete():
    for remove in (admin.user_remove, admin.policy_remove):
        try:
            remove(bucket)
        except MinioAdminException as error:  # a destroy that is repeated finds them gone
            print(error)
    if client.bucket_exists(bucket):
        for entry in client.list_objects(bucket, recursive=True):
            client.remove_object(bucket, entry.object_name)
        client.remove_bucket(bucket)


{"create": create, "delete": delete}[sys.argv[1]]()
