"""A run as its readers see it: what became of each document, as Markdown, as JUnit's XML, and in
the forms that GitHub's and GitLab's jobs show. Pure: values in, text out.

Names, error texts and URLs are others' text. Each form gets them through `text.py`, and escaped
as that form demands, so that none of them can end a cell, open an element or give a command.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn.errors import PartlyDone, RefusedError
from myop_cdn.model import DocumentRef
from myop_cdn.text import json_text, line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from myop_cdn.errors import MyopCdnError

MAX_ROWS = 500  # of a table: GitHub takes 1 MiB a step
MAX_ANNOTATIONS = 10  # of a kind: GitHub shows no more of one step
_MAX_TEXT = 500  # characters of an error or a reason
# What GitHub's Markdown acts upon; of colons those that make a link by themselves.
_MARKDOWN = re.compile(
    r"[\\`*_{}\[\]<>#|~&@]|(?i:(?<=http)|(?<=https)|(?<=ftp)|(?<=mailto)|(?<=xmpp)):|(?i:(?<=www))\."
)

State = Literal["changed", "unchanged", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One document or object, and what became of it.

    action: that in a word, "uploaded" for one. name: the component's; before, after: what it held
    and holds now, as variants are called; all three "" where not known. size: in bytes, as it is
    stored. note: the error, or the reason, in words.
    """

    key: str
    state: State
    action: str
    name: str = ""
    before: str = ""
    after: str = ""
    size: int | None = None
    note: str = ""

    @property
    def variant(self) -> str:
        """From which variant to which, as far as is known."""
        return " → ".join(one for one in (self.before, self.after) if one)


@dataclass(frozen=True, slots=True)
class Section:
    """One half of a run: an export, or what was done at one destination.

    title: the folder or the URL. outcome: it in a line. error: why it came to nothing, or was not
    done wholly. seconds: how long it took.
    """

    title: str
    outcome: str
    items: tuple[Item, ...] = ()
    warnings: tuple[str, ...] = ()
    error: MyopCdnError | None = None
    seconds: float = 0.0

    @property
    def notable(self) -> Iterator[Item]:
        """Those that did not stay as they were."""
        return (one for one in self.items if one.state != "unchanged")


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole run. error: what it ended with, None where all went well."""

    command: str
    sections: tuple[Section, ...] = ()
    error: MyopCdnError | None = None
    dry_run: bool = False

    @property
    def headline(self) -> str:
        """How it ended, in a line."""
        if self.error is not None:
            return f"Failed with exit code {int(self.error.exit_code)}: {self.error.message}"
        if self.dry_run:
            return "Dry run: nothing was changed"
        changed = any(one.state == "changed" for part in self.sections for one in part.items)
        return "Done" if changed else "Unchanged: there was nothing to do"


def markdown(summary: Summary, *, rows: int = MAX_ROWS) -> str:
    """The run as Markdown (GitHub's). rows: how many documents are listed at the most."""
    return "\n\n".join(_paragraphs(summary, rows)) + "\n"


def _paragraphs(summary: Summary, rows: int) -> Iterator[str]:
    yield f"### myop-cdn {_escaped(summary.command)}"
    yield f"**{_escaped(summary.headline, _MAX_TEXT)}**"
    if summary.error is not None and summary.error.hint:
        yield _escaped(summary.error.hint, _MAX_TEXT)
    for section in summary.sections:
        yield f"#### {_escaped(section.title, 300)}"
        yield f"{_escaped(section.outcome, _MAX_TEXT)} ({section.seconds:.1f} s)"
        if section.error is not None and section.error is not summary.error:
            yield f"**{_escaped(section.error.message, _MAX_TEXT)}**"
        if items := list(section.notable):
            yield "\n".join(_table(items, rows))
        if section.warnings:
            yield "\n".join(f"- Warning: {_escaped(one, _MAX_TEXT)}" for one in section.warnings)


def _table(items: list[Item], rows: int) -> Iterator[str]:
    yield "| | Component | Environment | Variant | Size |"
    yield "|---|---|---|---|---:|"
    items.sort(key=lambda one: one.state != "failed")  # what failed is read first
    for one in items[:rows]:
        ref = DocumentRef.of(one.key)
        cells = [one.action, one.name or (ref.component_id if ref else one.key)]
        cells += [ref.environment if ref else "", one.variant, file_size(one.size)]
        cells[0] += f": {one.note}" if one.note else ""
        yield f"| {' | '.join(_escaped(cell, _MAX_TEXT) for cell in cells)} |"
    if len(items) > rows:
        yield ""
        yield f"… and {len(items) - rows} more."


def _escaped(text: str, limit: int = 80) -> str:
    """`text` with what Markdown would act upon escaped, links and mentions too."""
    return _MARKDOWN.sub(r"\\\g<0>", shown(text, limit))


def file_size(size: int | None) -> str:
    """A number of bytes for people; "" where it is not known."""
    if size is None:
        return ""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} KB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def junit(summary: Summary, now: datetime) -> str:
    """The run in JUnit's XML, where each document is a case: valid by Ant's schema, and by the
    laxer one of Jenkins.

    A document that failed is a failure; what failed as a whole has a case of its own for that.
    """
    from xml.etree.ElementTree import Element, SubElement, tostring

    root = Element("testsuites")
    sections = summary.sections
    if summary.error is not None and not any(map(_fails, sections)):
        sections = (*sections, Section(summary.command, summary.headline, error=summary.error))
    for number, section in enumerate(sections):
        cases = list(_cases(section))
        title = shown(section.title, 300).strip() or "myop-cdn"
        suite = SubElement(root, "testsuite", {"package": "myop-cdn", "id": str(number)})
        suite.attrib |= {"name": title, "hostname": "localhost", "tests": str(len(cases))}
        for kind, counted in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(kind, str(sum(tag == counted for _, tag, _, _ in cases)))
        suite.set("time", f"{section.seconds:.3f}")
        suite.set("timestamp", now.strftime("%Y-%m-%dT%H:%M:%S"))
        SubElement(suite, "properties")
        for name, tag, kind, message in cases:
            attributes = {"classname": title, "name": name, "time": "0"}
            case = SubElement(suite, "testcase", attributes)
            if tag == "skipped":
                SubElement(case, tag, {"message": message})
            elif tag:
                SubElement(case, tag, {"message": message, "type": kind}).text = message
        SubElement(suite, "system-out").text = "\n".join(plain_lines(section))
        SubElement(suite, "system-err").text = "\n".join(map(line, section.warnings))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, "unicode")}\n'


def _fails(section: Section) -> bool:
    return section.error is not None or any(one.state == "failed" for one in section.items)


def _cases(section: Section) -> Iterator[tuple[str, str, str, str]]:
    """Each case's name, and for one that did not pass the element, its type and the message."""
    for one in section.items:
        note = shown(one.note, _MAX_TEXT)
        tag = {"failed": "failure", "skipped": "skipped"}.get(one.state, "")
        yield shown(one.key, 300), tag, "failed" if tag else "", note
    error = section.error
    is_said = isinstance(error, PartlyDone) and any(one.state == "failed" for one in section.items)
    if error is not None and not is_said:
        tag = "failure" if isinstance(error, RefusedError | PartlyDone) else "error"
        message = line(f"{error.message} {error.hint}".strip())
        yield "the run as a whole", tag, type(error).__name__, message


def plain_lines(section: Section) -> Iterator[str]:
    """The section for a log, a line for each document that did not stay as it was."""
    yield line(f"{section.title}: {section.outcome}")
    for one in section.notable:
        facts = [one.name, one.variant, file_size(one.size), one.note]
        told = " · ".join(shown(fact, _MAX_TEXT) for fact in facts if fact)
        yield line(f"  {one.action} {one.key}" + (f"  {told}" if told else ""))


def github_annotations(summary: Summary) -> Iterator[str]:
    """Lines that GitHub shows at the job: an error for the run and for what failed, a warning for
    each warning. Workflow commands as GitHub's own toolkit escapes them (`command.ts`).
    """
    title = f"myop-cdn {summary.command}"
    errors = [] if summary.error is None else [_with_hint(summary.error)]
    warnings: list[str] = []
    for section in summary.sections:
        if section.error is not None and section.error.message not in " ".join(errors):
            errors.append(_with_hint(section.error))
        failed = (one for one in section.items if one.state == "failed")
        errors += [f"{section.title}: {one.key}: {one.note}" for one in failed]
        warnings += [f"{section.title}: {one}" for one in section.warnings]
    for command, messages in (("error", errors), ("warning", warnings)):
        if len(messages) > MAX_ANNOTATIONS:
            more = len(messages) - MAX_ANNOTATIONS + 1
            messages = [*messages[: MAX_ANNOTATIONS - 1], f"… and {more} more"]
        for message in messages:
            yield f"::{command} title={_command_property(title)}::{_command_data(line(message))}"


def _with_hint(error: MyopCdnError) -> str:
    return f"{error.message}: {error.hint}" if error.hint else error.message


def _command_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _command_property(text: str) -> str:
    return _command_data(shown(text)).replace(":", "%3A").replace(",", "%2C")


def gitlab_section(section: Section, name: str, now: datetime) -> str:
    """The section as a part of a GitLab job's log that unfolds (GitLab's "Custom collapsible
    sections"). name: of letters, digits and underscores, another for each section of a job.
    """
    start, *below = plain_lines(section)
    mark, at = "\x1b[0K", int(now.timestamp())
    return "\n".join(
        [
            f"{mark}section_start:{at}:{name}[collapsed=true]\r{mark}{start}",
            *below,
            f"{mark}section_end:{at}:{name}\r{mark}",
        ]
    )


def _json(value: Mapping[str, Any]) -> str:
    return json_text(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


# By the ending of a report's file: the text, from the run, its JSON report and the present moment.
FORMATS: dict[str, Callable[[Summary, Mapping[str, Any], datetime], str]] = {
    ".md": lambda summary, _value, _now: markdown(summary),
    ".xml": lambda summary, _value, now: junit(summary, now),
    ".json": lambda _summary, value, _now: _json(value),
}
