"""Read the settings of a run from its events: HParams events, and the table that CleanRL writes as a text."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

CLEANRL_TABLE = ("hyperparameters/text_summary", "hyperparameters")  # the tag that torch writes, and tensorboardX
LARGEST = 1_000  # settings of a run
PLAIN = {"True": True, "False": False, "None": None}


def settings_of(value: "Summary.Value") -> dict[str, Any]:
    """Return the settings that a value of an event holds; most hold none."""
    plugin = value.metadata.plugin_data
    if plugin.plugin_name == "hparams":
        return _hparams(plugin.content)
    if value.tag in CLEANRL_TABLE and value.HasField("tensor"):
        text = value.tensor.string_val[0] if len(value.tensor.string_val) else b""
        return _markdown_table(text.decode(errors="replace"))
    return {}


def _hparams(content: bytes) -> dict[str, Any]:
    """Return the hyperparameters at the start of a session, whole numbers as int."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        group = HParamsPluginData.FromString(content).session_start_info.hparams
    except Exception:  # DecodeError of protobuf, which has no public base class in all versions
        return {}
    found: dict[str, Any] = {}
    for key in sorted(group)[:LARGEST]:
        kind = group[key].WhichOneof("kind")
        if kind == "number_value":
            number = group[key].number_value
            found[key] = int(number) if number.is_integer() and abs(number) < 2**53 else number
        elif kind == "string_value":
            found[key] = group[key].string_value
        elif kind == "bool_value":
            found[key] = group[key].bool_value
    return found


def _markdown_table(text: str) -> dict[str, Any]:
    """Return the rows |key|value| of a table; the two lines of its head are left out."""
    found: dict[str, Any] = {}
    for line in text.splitlines()[2 : LARGEST + 2]:
        key, bar, value = line.strip().removeprefix("|").removesuffix("|").partition("|")
        if bar and key.strip():
            found[key.strip()] = _plain(value.strip())
    return found


def _plain(text: str) -> Any:
    """Return the number, truth value or None that a text spells; otherwise the text."""
    if text in PLAIN:
        return PLAIN[text]
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text
