"""Holds resources and data sources of a provider against its type declarations.

    schema_lint.py PROVIDER DECLARATIONS FILE.tf...

DECLARATIONS is `lib` of an npm package of prebuilt bindings (@cdktn/provider-aws): a folder for each resource, in whose
*.d.ts each attribute has its Terraform name in a link, `?` when it is optional, and "NAME block" when it is a block.
An unknown type, attribute or block, a missing one, and a block in place of an attribute are findings.
"""

import re
import sys
from functools import cache
from pathlib import Path

import hcl2

META = {"count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection"}
INTERFACE = re.compile(r"export interface (\w+)([^{]*)\{(.*?)\n\}", re.S)
FIELD = re.compile(r"/\*\*(?P<doc>.*?)\*/\s*readonly \w+(?P<optional>\??): (?P<type>[^;]+);", re.S)


class Field:
    def __init__(self, match: re.Match, name: str):
        self.is_required = not match["optional"]
        self.is_block = f"{name} block" in match["doc"]
        self.inner = re.sub(r"(\w+\.)?IResolvable|[\[\]|\s]", "", match["type"])


@cache
def declared(provider: str, declarations: Path, kind: str, name: str) -> tuple[dict, str] | None:
    """Interfaces of a type by name, and which is its root; None for an unknown type."""
    folder = declarations / ((f"data-{provider}-" if kind == "data" else "") + name.replace("_", "-"))
    interfaces, root = {}, None
    for path in sorted(folder.rglob("*.d.ts")):
        for interface, extends, body in INTERFACE.findall(path.read_text()):
            fields = {}
            for match in FIELD.finditer(body):
                if attribute := re.search(r"#(\w+) \w+#\w+\}", match["doc"]):
                    fields[attribute[1]] = Field(match, attribute[1])
            interfaces[interface] = fields
            if interface.endswith("Config") and "MetaArguments" in extends:
                root = interface
    return (interfaces, root) if root else None


def is_block(value) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and "__is_block__" in entry for entry in value)


def check(body: dict, interface: str, interfaces: dict, where: str):
    fields, given = interfaces.get(interface, {}), dict(body)
    for dynamic in given.pop("dynamic", []):
        for name, inner in dynamic.items():
            if not name.startswith("__"):
                given.setdefault(name.strip('"'), []).extend(inner.get("content", []))
    for name, value in given.items():
        if name.startswith("__") or name in META:
            continue
        field = fields.get(name)
        if field is None:
            yield f"{where}: unknown attribute or block {name}"
        elif field.is_block != is_block(value):
            yield f"{where}: {name} is {'a block' if field.is_block else 'an attribute'}"
        elif field.is_block:
            for entry in value:
                yield from check(entry, field.inner, interfaces, f"{where}.{name}")
    for name, field in fields.items():
        if field.is_required and name not in given:
            yield f"{where}: missing {name}"


def lint(provider: str, declarations: Path, path: Path):
    """Findings of one file, and how many blocks were looked at."""
    document, looked_at, findings = hcl2.loads(path.read_text()), 0, []
    for kind in ("resource", "data"):
        for entry in document.get(kind, []):
            for full, bodies in entry.items():
                owner, _, name = full.strip('"').partition("_")
                if owner != provider:
                    continue
                known = declared(provider, declarations, kind, name)
                for label, body in bodies.items():
                    looked_at += 1
                    where = f"{path}: {kind} {provider}_{name}.{label.strip(chr(34))}"
                    if known is None:
                        findings.append(f"{where}: no such type")
                    else:
                        findings.extend(check(body, known[1], known[0], where))
    return findings, looked_at


if __name__ == "__main__":
    provider = sys.argv[1]
    results = [lint(provider, Path(sys.argv[2]), Path(name)) for name in sys.argv[3:]]
    findings = [finding for found, _ in results for finding in found]
    total = sum(looked_at for _, looked_at in results)
    print("\n".join([*findings, f"{len(results)} files, {total} blocks of {provider}, {len(findings)} findings"]))
    sys.exit(bool(findings) or total == 0)
