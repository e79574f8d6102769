"""The AWS provider's schema, out of its bindings for JavaScript.

    schema.py PACKAGE OUTPUT.json    PACKAGE is an unpacked @cdktn/provider-aws

The provider itself cannot be had from a package registry. But these bindings are generated from its
schema, and still say of each argument its name, type, whether it is required, optional or computed,
and how blocks nest. Only what terraform/relay uses is taken.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

RESOURCES = """
budgets-budget cloudwatch-metric-alarm default-security-group eip eip-association eip-domain-name
iam-instance-profile iam-role iam-role-policy instance internet-gateway network-interface route
route-table route-table-association route53domains-delegation-signer-record
route53domains-registered-domain security-group ssm-parameter subnet vpc
vpc-security-group-egress-rule vpc-security-group-ingress-rule
""".split()
DATA_SOURCES = ["data-aws-eip", "data-aws-partition", "data-aws-region", "data-aws-ssm-parameter"]

Type = Any
#: What the bindings call a type where values are written (`storageClassType`) …
STORAGE: dict[str, Type] = {
    "string": "string", "number": "number", "boolean": "bool",
    "stringList": ["list", "string"], "numberList": ["list", "number"], "booleanList": ["list", "bool"],
    "stringMap": ["map", "string"], "numberMap": ["map", "number"], "booleanMap": ["map", "bool"],
    "stringSet": ["set", "string"],
}
#: … and where they are read.
GETTERS: dict[str, Type] = {
    "getStringAttribute": "string", "getNumberAttribute": "number", "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"], "getNumberListAttribute": ["list", "number"],
    "StringMap": ["map", "string"], "BooleanMap": ["map", "bool"], "NumberMap": ["map", "number"],
}
ARGUMENT = re.compile(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)")
CLASS = re.compile(r"(?m)^(?:export )?class (\w+) extends (?:\w+\.)?(\w+) \{")
RENDERER = re.compile(r"function (\w+?)ToHclTerraform\(struct\) \{(.*?)\n\}", re.S)
RENDERED = re.compile(
    r"\n\s+(\w+): \{\n\s+value: (.*?),\n\s+isBlock: (true|false),\n\s+type: \"(\w+)\",\n\s+storageClassType: \"([^\"]+)\""
)


class Binding:
    """One resource's or data source's generated file."""

    def __init__(self, text: str) -> None:
        self.type_name = re.search(r'tfResourceType = "([^"]+)"', text)[1]  # type: ignore[index]
        self.provider_version = re.search(r"providerVersion: .([0-9.]+)", text)[1]  # type: ignore[index]
        parts = CLASS.split(text)
        self._classes = {name: (base, body) for name, base, body in zip(parts[1::3], parts[2::3], parts[3::3])}
        self._main = next(
            name for name, (base, _) in self._classes.items() if base in ("TerraformResource", "TerraformDataSource")
        )
        self._renderers = {match[1].lower(): match[2] for match in RENDERER.finditer(text)}
        self._renderers[self._main.lower()] = text[text.rindex("synthesizeHclAttributes()"):]

    def block(self) -> dict[str, Any]:
        """The whole schema."""
        return self._block(self._main, self._main)

    def _block(self, class_name: str, struct: str) -> dict[str, Any]:
        body = self._classes[class_name][1]
        rendered = {match[1]: match for match in RENDERED.finditer(self._renderers.get(struct.lower(), ""))}
        block: dict[str, Any] = {"attributes": {}, "block_types": {}}
        arguments = list(ARGUMENT.finditer(body))
        for argument, following in zip(arguments, [*arguments[1:], None]):
            name = argument[1]
            flags = {"computed": argument[2] == "true", "optional": argument[3] == "true", "required": argument[4] == "true"}
            text = body[argument.end():following.start() if following else len(body)]
            how = rendered.get(name)
            nested = re.search(rf'new (\w+?)(List|Map|OutputReference)\(this, "{name}"(, true)?', text)
            if nested and f"{nested[1]}OutputReference" in self._classes:
                self._nested(block, name, flags, nested, how)
            else:
                block["attributes"][name] = {"type": self._type(text, how), **flags}
        return block

    def _nested(self, block: dict[str, Any], name: str, flags: dict[str, bool], nested: re.Match[str], how: re.Match[str] | None) -> None:
        inner = self._block(f"{nested[1]}OutputReference", nested[1][0].lower() + nested[1][1:])
        kind = {"List": "list", "Map": "map", "OutputReference": "single"}[nested[2]]
        if how and how[4] in ("set", "list", "struct"):
            kind = "single" if how[4] == "struct" else how[4]
        # The bindings show a list block of at most one element as a single object.
        at_most_one = nested[2] == "OutputReference" and kind != "single"
        # Written as blocks, but an attribute to Terraform: unset is something else than empty there.
        as_attribute = how and re.search(r"listMapperHcl\(\w+, false\)", how[2])
        if how and how[3] == "true" and not as_attribute and (flags["optional"] or flags["required"]):
            block["block_types"][name] = {
                "nesting": kind, "block": inner,
                "min_items": 1 if flags["required"] and kind != "single" else 0, "max_items": 1 if at_most_one else 0,
            }
        else:
            fields = {field: attribute["type"] for field, attribute in inner["attributes"].items()}
            block["attributes"][name] = {"type": ["list" if kind == "single" else kind, ["object", fields]], **flags}

    @staticmethod
    def _type(text: str, how: re.Match[str] | None) -> Type:
        getter = re.search(r"this\.(get\w+Attribute)\(", text) or re.search(r"new cdktn\.(\w+Map)\(this", text)
        found = STORAGE.get(how[5]) if how else None
        found = found or (GETTERS.get(getter[1], "string") if getter else "string")
        is_set = (how and how[4] == "set") or "Fn.tolist" in text
        return ["set", found[1]] if is_set and isinstance(found, list) else found


def read(package: Path) -> dict[str, Any]:
    """The schema of everything that the relay's module uses."""
    schema: dict[str, Any] = {"resources": {}, "data_sources": {}}
    for kind, names in (("resources", RESOURCES), ("data_sources", DATA_SOURCES)):
        for name in names:
            binding = Binding((package / "lib" / name / "index.js").read_text())
            schema[kind][binding.type_name] = binding.block()
            schema["version"] = binding.provider_version
    return schema


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Path(sys.argv[2]).write_text(json.dumps(read(Path(sys.argv[1])), indent=1))
