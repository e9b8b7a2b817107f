"""Modules against the declarations of the providers aws 6.45.0 and kubernetes 2.38.0, and the check against mistakes.

These providers cannot be built here, so what uses them is linted and not applied."""

import os
import re
from pathlib import Path

import pytest
import schema_lint

CHECKOUT = Path(__file__).parents[3]
TERRAFORM = CHECKOUT / "terraform"
DECLARATIONS = {name: Path(os.environ[f"{name.upper()}_DECLARATIONS"]) for name in ("aws", "kubernetes")}
FILES = sorted(TERRAFORM.rglob("*.tf"))


@pytest.mark.parametrize(("provider", "least"), [("aws", 30), ("kubernetes", 2)])
def test_every_block_fits_the_provider(provider, least):
    results = [schema_lint.lint(provider, DECLARATIONS[provider], path) for path in FILES]

    assert sum(looked_at for _, looked_at in results) >= least
    assert [finding for findings, _ in results for finding in findings] == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('"aws_s3_bucket_versioning"', '"aws_s3_bucket_versionning"', "no such type"),
        ("block_public_acls ", "block_public_acl ", "unknown attribute or block block_public_acl"),
        ("sse_algorithm     = var", "sse_algoritm     = var", "missing sse_algorithm"),
        ("filter {}", "filter = {}", "filter is a block"),
        ("noncurrent_days = rule.value", "days = rule.value", "unknown attribute or block days"),
    ],
)
def test_a_mistake_is_found(old, new, finding, tmp_path):
    text = (TERRAFORM / "modules" / "bucket" / "main.tf").read_text()
    assert old in text
    path = tmp_path / "main.tf"
    path.write_text(text.replace(old, new))

    findings, _ = schema_lint.lint("aws", DECLARATIONS["aws"], path)

    assert any(finding in found for found in findings), findings


def test_nothing_of_ours_expires_objects():
    text = (TERRAFORM / "modules" / "bucket" / "main.tf").read_text()

    assert "noncurrent_version_expiration" in text
    assert not re.search(r"^\s*expiration\s*{", text, re.M)
    assert "transition" not in text


def test_every_variable_and_output_is_described():
    for path in FILES:
        for block in re.findall(r'^(?:variable|output) "\w+" \{.*?^\}', path.read_text(), re.M | re.S):
            assert re.search(r'^  description = ".+\."$', block, re.M), (path, block.splitlines()[0])


def test_an_example_gives_each_module_what_it_has():
    """Without the provider `terraform validate` cannot say it: no unknown and no missing input."""
    for path in sorted((TERRAFORM / "examples").rglob("main.tf")):
        for name, body in re.findall(r'^module "(\w+)" \{(.*?)^\}', path.read_text(), re.M | re.S):
            source = re.search(r'source\s+= "(.+)"', body)[1]
            text = "".join(file.read_text() for file in (path.parent / source).resolve().glob("*.tf"))
            blocks = dict(re.findall(r'^variable "(\w+)" \{(.*?)^\}', text, re.M | re.S))
            given = set(re.findall(r"^  (\w+)\s+=", body, re.M)) - {"source", "count", "depends_on"}
            needed = {key for key, block in blocks.items() if not re.search(r"^  default ", block, re.M)}
            assert given <= set(blocks), (path, name, given - set(blocks))
            assert needed <= given, (path, name, needed - given)
