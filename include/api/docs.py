"""The OpenAPI document as one self-contained page: no script, no request to another host."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9dee7, #2a3140); --soft: light-dark(#5b6678, #97a3b6);
  --card: light-dark(#ffffff, #151a23); --accent: light-dark(#1558d6, #6ea8ff); }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1rem 4rem; font: 15px/1.5 system-ui, sans-serif;
  background: light-dark(#f5f7fa, #0d1118); color: light-dark(#1a2130, #e4e9f2); }
a { color: var(--accent); } h1 { font-size: 1.4rem; margin: 0; } p { margin: .35rem 0; color: var(--soft); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.2rem;
  margin-top: 1rem; overflow-x: auto; }
h2 { font: 600 1rem ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
h2 span { color: var(--accent); margin-right: .6rem; } h3 { font-size: .8rem; margin: .9rem 0 .2rem; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; border: 0; } code { font-family: ui-monospace, monospace; }
"""


def render(document: dict[str, Any], schema_url: str) -> str:
    """`document` is an OpenAPI 3.1 document; every text from it is escaped."""
    info = document["info"]
    operations = "".join(
        _operation(document, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    title, about = escape(info["title"]), escape(info.get("description", ""))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" type="image/svg+xml" href="/assets/mark.svg">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1><p>{about}</p>"
        f'<p><a href="{escape(schema_url)}">OpenAPI document (JSON)</a> · <a href="/">Dashboard</a></p>'
        f"{operations}</main></body></html>"
    )


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = operation.get("parameters", [])
    # An address without a placeholder can be tried by a click.
    address = escape(path) if "{" in path else f'<a href="{escape(path)}">{escape(path)}</a>'
    return (
        f"<article><h2><span>{escape(method.upper())}</span>{address}</h2>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        f"{_parameters(parameters)}{_responses(document, operation['responses'])}</article>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td><code>{escape(_type(each['schema']))}</code></td>"
        f"<td>{escape(each.get('description', ''))}</td></tr>"
        for each in parameters
    )
    head = "<tr><th>name</th><th>in</th><th>takes</th><th>meaning</th></tr>"
    return f"<h3>Parameters</h3><table>{head}{rows}</table>"


def _responses(document: dict[str, Any], responses: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(code)}</code></td><td>{escape(response.get('description', ''))}</td>"
        f"<td>{escape(_fields(document, response))}</td></tr>"
        for code, response in responses.items()
    )
    return f"<h3>Answers</h3><table>{rows}</table>"


def _fields(document: dict[str, Any], response: dict[str, Any]) -> str:
    references = [
        content["schema"]["$ref"].rsplit("/", 1)[-1]
        for content in response.get("content", {}).values()
        if "$ref" in content.get("schema", {})
    ]
    if not references:
        return ""
    properties = document["components"]["schemas"][references[0]].get("properties", {})
    return ", ".join(properties)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    limits = [f"{sign} {schema[key]}" for key, sign in (("minimum", ">="), ("maximum", "<=")) if key in schema]
    default = [f"default {schema['default']}"] if schema.get("default") is not None else []
    return ", ".join([str(schema.get("format", schema.get("type", "any"))), *limits, *default])
