#!/usr/bin/env python3
"""Writes src/guard/table.rs and the files below src/guard/table from Kafka's message definitions
(common/message/*.json of kafka-clients).

Usage: mvn dependency:get -Dartifact=org.apache.kafka:kafka-clients:4.3.1
       unzip kafka-clients-4.3.1.jar 'common/message/*.json' -d DIR
       tools/guard_table.py DIR/common/message src/guard && cargo fmt -p esker-kafka
"""
import json
import re
import sys

# api -> (lowest, highest) version with a body that is served: what producers and consumers ask.
CLIENTS = {
    "Produce": (3, 11), "Fetch": (4, 18), "ListOffsets": (1, 11), "Metadata": (0, 13),
    "OffsetCommit": (2, 9), "OffsetFetch": (1, 9), "FindCoordinator": (0, 6), "JoinGroup": (0, 9),
    "Heartbeat": (0, 4), "LeaveGroup": (0, 5), "SyncGroup": (0, 5), "DescribeGroups": (0, 6),
    "ListGroups": (0, 5), "ApiVersions": (0, 4), "CreateTopics": (2, 7), "DeleteTopics": (1, 6),
    "InitProducerId": (0, 5), "DescribeConfigs": (1, 4), "DescribeCluster": (0, 2),
    "DescribeTopicPartitions": (0, 0),
}
# The same: what tools and consoles ask.
ADMIN = {
    "DeleteRecords": (0, 2), "OffsetForLeaderEpoch": (2, 4), "DescribeAcls": (1, 3),
    "AlterConfigs": (0, 2), "DescribeLogDirs": (1, 4), "CreatePartitions": (0, 3),
    "DeleteGroups": (0, 2), "ElectLeaders": (0, 2), "IncrementalAlterConfigs": (0, 1),
    "AlterPartitionReassignments": (0, 1), "ListPartitionReassignments": (0, 0),
    "OffsetDelete": (0, 0), "DescribeClientQuotas": (0, 1),
    "DescribeUserScramCredentials": (0, 0), "DescribeQuorum": (0, 2),
    "DescribeProducers": (0, 0), "DescribeTransactions": (0, 0), "ListTransactions": (0, 2), "ListConfigResources": (0, 1),
}
PARTS = {"clients": CLIENTS, "admin": ADMIN}
SERVED = CLIENTS | ADMIN
# Elements of all lists of one request together, where the general limit is too generous.
ELEMENTS = {"Fetch": "limits::FETCH_ELEMENTS_MAX"}
WIDTH = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "int64": 8, "uuid": 16}


def load(folder, name):
    text = open(f"{folder}/{name}.json").read()
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def versions(text, low, high):
    """The part of Kafka's version text within low..=high, or None."""
    if text in (None, "none"):
        return None
    if text.endswith("+"):
        first, last = int(text[:-1]), high
    elif "-" in text:
        first, last = map(int, text.split("-"))
    else:
        first = last = int(text)
    first, last = max(first, low), min(last, high)
    return (first, last) if first <= last else None


class Table:
    def __init__(self, api, definition):
        self.api, self.low, self.high = api, *SERVED[api]
        self.definition, self.shapes = definition, []
        self.module = f"messages::{snake(definition['name'])}"

    def kind(self, field):
        declared = field["type"]
        if declared.startswith("[]"):
            return f"List(&{self.element(declared[2:], field)})"
        return self.element(declared, field)

    def element(self, declared, field):
        if declared in WIDTH:
            return f"Fixed({WIDTH[declared]})"
        if declared == "string":
            return "Text"
        if declared in ("bytes", "records"):
            return "Blob"
        return f"Struct(&{self.shape(declared, field['fields'])})"

    def shape(self, name, fields):
        lines = []
        for field in fields:
            present = versions(field["versions"], self.low, self.high)
            if present is None:
                continue
            line = f'Field::new("{field["name"]}", {self.kind(field)}, {present[0]}, {present[1]})'
            null = versions(field.get("nullableVersions"), *present)
            if null:
                line += f".nullable({null[0]}, {null[1]})"
            tagged = versions(field.get("taggedVersions"), *present)
            if tagged:
                assert tagged == present, "a field is tagged in all its versions or in none"
                line += f".tagged({field['tag']})"
            lines.append(line + ",")
        constant = f"{snake(self.api)}_{snake(name)}".upper()
        if name == self.definition["name"]:
            constant = f"{snake(self.api)}_ROOT".upper()
        body = "\n        ".join(lines)
        self.shapes.append(
            f"const {constant}: Shape = Shape {{\n    memory_bytes: "
            f"size_of::<{self.module}::{name}>(),\n    fields: &[\n        {body}\n    ],\n}};\n"
        )
        return constant

    def text(self, part):
        root = self.shape(self.definition["name"], self.definition["fields"])
        flexible = self.definition["flexibleVersions"]
        first = "i16::MAX" if flexible == "none" else int(flexible.rstrip("+"))
        elements = ELEMENTS.get(self.api, "limits::REQUEST_ELEMENTS_MAX")
        constant = snake(self.api).upper()
        self.shapes.append(
            f"pub(super) const {constant}: ApiShape = ApiShape::new({first}, {elements}, &{root});\n"
        )
        return "\n".join(self.shapes), f"Api::{self.api} => {part}::{constant},"


GENERATED = """//!
//! GENERATED by `tools/guard_table.py` from Kafka 4.3.1's own message definitions; run that
//! again instead of editing. Memory is the size of the codec's struct for one value.
"""


def main():
    folder, out = sys.argv[1:]
    arms = []
    for part, apis in PARTS.items():
        tables = [Table(api, load(folder, api + "Request")).text(part) for api in apis]
        arms += [arm for _, arm in tables]
        with open(f"{out}/table/{part}.rs", "w") as file:
            file.write(f"//! Layouts of requests, version by version: what the guard walks. Of {part}.\n")
            file.write(GENERATED + "\n")
            text = "\n".join(shapes for shapes, _ in tables)
            kinds = (kind for kind in ("Blob", "Fixed", "List", "Struct", "Text") if kind in text)
            file.write(f"use crate::guard::shape::Kind::{{{', '.join(kinds)}}};\n")
            file.write("use crate::guard::shape::{ApiShape, Field, Shape};\n")
            file.write("use crate::{limits, messages};\n\n" + text)
    with open(f"{out}/table.rs", "w") as file:
        file.write("//! The layout of every served request, version by version: what the guard walks.\n")
        file.write(GENERATED + "\nmod admin;\nmod clients;\n\n")
        file.write("use super::shape::ApiShape;\nuse crate::versions::Api;\n\n")
        file.write("/// The layout of `api`'s requests.\n")
        file.write("pub(super) const fn layout(api: Api) -> ApiShape {\n    match api {\n")
        file.write("".join(f"        {arm}\n" for arm in arms) + "    }\n}\n")


main()
