"""A stand-in for the provider hashicorp/aws, for tests: the real schema, in front of moto.

Terraform starts it as a plug-in. The schema is what `schema.py` found; what happens to resources is
in `cloud.py`. What this does not show: the checks of arguments that the real provider makes beyond
its schema, and how real AWS behaves.

Environment: `ROOST_AWS_SCHEMA` (file), and what `cloud.py` needs.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import msgpack
import tf.provider
import tf.runner
from tf.gen import tfplugin_pb2 as plugin
from tf.gen import tfplugin_pb2_grpc as service

from cloud import Cloud, GoneError, replaced_by

Values = dict[str, Any]
SCHEMA = json.loads(Path(os.environ["ROOST_AWS_SCHEMA"]).read_text())
#: A value that is not known before apply, as Terraform writes it (docs: "resource instance change lifecycle").
UNKNOWN = msgpack.ExtType(0, b"\x00")
NESTING = {"list": 2, "set": 3, "map": 4, "single": 1}
#: `Attribute.write_only = 11` of tfplugin6.8, true; the library's protocol is older and passes it on.
WRITE_ONLY = b"\x58\x01"


def write_only(name: str) -> bool:
    """The provider names all of its write-only arguments so."""
    return name.endswith("_wo") and not name.startswith("has_")


def unknown(value: object) -> bool:
    """Whether it is still to be seen."""
    return isinstance(value, msgpack.ExtType)


def block_message(block: Values) -> plugin.Schema.Block:
    """A block for Terraform."""
    message = plugin.Schema.Block()
    for name, attribute in block["attributes"].items():
        made = plugin.Schema.Attribute(
            name=name, type=json.dumps(attribute["type"]).encode(), required=attribute["required"],
            optional=attribute["optional"], computed=attribute["computed"],
            sensitive=write_only(name) or name in ("value", "password_data"),
        )
        if write_only(name):
            made.MergeFromString(WRITE_ONLY)
        message.attributes.append(made)
    for name, nested in block["block_types"].items():
        message.block_types.append(plugin.Schema.NestedBlock(
            type_name=name, block=block_message(nested["block"]), nesting=NESTING[nested["nesting"]],
            min_items=nested["min_items"], max_items=nested["max_items"],
        ))
    return message


def schema_message(block: Values) -> plugin.Schema:
    """The same with a version."""
    return plugin.Schema(version=0, block=block_message(block))


def decode(value: plugin.DynamicValue) -> Values | None:
    """What Terraform sent."""
    return msgpack.unpackb(value.msgpack, strict_map_key=False) if value.msgpack else json.loads(value.json or "null")


def encode(value: Values | None) -> plugin.DynamicValue:
    """What Terraform gets."""
    return plugin.DynamicValue(msgpack=msgpack.packb(value))


def nested_values(block: Values, values: Values) -> list[tuple[Values, Values]]:
    """Each nested block's schema and values."""
    found = []
    for name, nested in block["block_types"].items():
        value = values.get(name)
        entries = value.values() if isinstance(value, dict) and nested["nesting"] == "map" else value
        for entry in [entries] if isinstance(entries, dict) else entries or []:
            if isinstance(entry, dict):
                found.append((nested["block"], entry))
    return found


def leave_open(block: Values, values: Values) -> None:
    """Computed values that nobody has set will be seen after apply."""
    for name, attribute in block["attributes"].items():
        if attribute["computed"] and values.get(name) is None:
            values[name] = UNKNOWN
    for nested, entry in nested_values(block, values):
        leave_open(nested, entry)


def settle(block: Values, values: Values, found: Values) -> Values:
    """Puts what was found in the place of what was open."""
    for name in block["attributes"]:
        if unknown(values.get(name)):
            values[name] = found.get(name)
    for nested, entry in nested_values(block, values):
        settle(nested, entry, {})
    return values


def problem(error: Exception) -> list[plugin.Diagnostic]:
    """An error, for Terraform."""
    return [plugin.Diagnostic(severity=1, summary=f"{type(error).__name__}: {error}", detail=traceback.format_exc())]


class Provider(service.ProviderServicer):
    """The plug-in's calls, in the order in which Terraform makes them."""

    def __init__(self, _: object) -> None:
        self._cloud = Cloud()

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return plugin.GetMetadata.Response(
            server_capabilities=plugin.ServerCapabilities(),
            resources=[plugin.GetMetadata.ResourceMetadata(type_name=name) for name in SCHEMA["resources"]],
            data_sources=[plugin.GetMetadata.DataSourceMetadata(type_name=name) for name in SCHEMA["data_sources"]],
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        region = {"type": "string", "optional": True, "required": False, "computed": False}
        return plugin.GetProviderSchema.Response(
            provider=schema_message({"attributes": {"region": region}, "block_types": {}}),
            resource_schemas={name: schema_message(block) for name, block in SCHEMA["resources"].items()},
            data_source_schemas={name: schema_message(block) for name, block in SCHEMA["data_sources"].items()},
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return plugin.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return plugin.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return plugin.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return plugin.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return plugin.UpgradeResourceState.Response(upgraded_state=encode(json.loads(request.raw_state.json)))

    def ReadResource(self, request: Any, context: Any) -> Any:
        state = decode(request.current_state)
        try:
            found = self._cloud.read(request.type_name, state)
        except GoneError:
            return plugin.ReadResource.Response(new_state=encode(None))
        except Exception as error:
            return plugin.ReadResource.Response(diagnostics=problem(error))
        return plugin.ReadResource.Response(new_state=encode({**state, **found}), private=request.private)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        values = decode(request.config)
        block = SCHEMA["data_sources"][request.type_name]
        try:
            leave_open(block, values)
            values = settle(block, values, self._cloud.look_up(request.type_name, values))
        except Exception as error:
            return plugin.ReadDataSource.Response(diagnostics=problem(error))
        return plugin.ReadDataSource.Response(state=encode(values))

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        before, after = decode(request.prior_state), decode(request.proposed_new_state)
        if after is None:
            return plugin.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        block = SCHEMA["resources"][request.type_name]
        replace: list[str] = []
        if before is not None:
            changed = [name for name in after if after[name] != before.get(name) and not write_only(name)]
            replace = [name for name in changed if replaced_by(request.type_name, name, after)]
        if before is None or replace:
            config = decode(request.config)
            for name, attribute in block["attributes"].items():
                if attribute["computed"] and config.get(name) is None:
                    after[name] = None
            leave_open(block, after)
        for name in filter(write_only, after):
            after[name] = None
        if "tags_all" in block["attributes"]:
            after["tags_all"] = after.get("tags") or {}
        return plugin.PlanResourceChange.Response(
            planned_state=encode(after),
            requires_replace=[
                plugin.AttributePath(steps=[plugin.AttributePath.Step(attribute_name=name)]) for name in replace
            ],
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        before, after = decode(request.prior_state), decode(request.planned_state)
        block = SCHEMA["resources"][request.type_name]
        try:
            if after is None:
                self._cloud.delete(request.type_name, before)
                return plugin.ApplyResourceChange.Response(new_state=request.planned_state)
            secrets = {name: value for name, value in decode(request.config).items() if write_only(name)}
            given = {name: None if unknown(value) else value for name, value in {**after, **secrets}.items()}
            if before is None:
                found = self._cloud.create(request.type_name, given)
            else:
                found = self._cloud.update(request.type_name, before, given)
            return plugin.ApplyResourceChange.Response(new_state=encode(settle(block, after, found)))
        except Exception as error:
            return plugin.ApplyResourceChange.Response(new_state=request.prior_state, diagnostics=problem(error))

    def StopProvider(self, request: Any, context: Any) -> Any:
        return plugin.StopProvider.Response()


class Name:
    """All that the library's runner wants to know."""

    def full_name(self) -> str:
        return "registry.terraform.io/hashicorp/aws"


if __name__ == "__main__":
    tf.provider.ProviderServicer = Provider
    tf.runner.run_provider(Name(), sys.argv)
