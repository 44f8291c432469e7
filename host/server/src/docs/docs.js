// Shows /openapi.json as a page. Everything is put in as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "patch", "delete"];

function element(name, text, children = []) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function named(name, className, text) {
  const made = element(name, text);
  made.className = className;
  return made;
}

// A schema in a few words, such as `string | null, 1 to 200 characters`.
function kind(schema, api, depth = 0) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    const target = api.components.schemas[name];
    return depth > 2 || !target ? name : kind(target, api, depth + 1);
  }
  const either = schema.oneOf || schema.anyOf;
  if (either) return either.map((one) => kind(one, api, depth + 1)).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const type = [].concat(schema.type || "anything").join(" | ");
  if (schema.items) return `list of ${kind(schema.items, api, depth + 1)}`;
  const limits = [];
  if (schema.minimum !== undefined) limits.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) limits.push(`to ${schema.maximum}`);
  if (schema.minLength !== undefined) limits.push(`at least ${schema.minLength} long`);
  if (schema.maxLength !== undefined) limits.push(`at most ${schema.maxLength} long`);
  return [type, ...limits].join(", ");
}

function resolved(schema, api) {
  while (schema && schema.$ref) schema = api.components.schemas[schema.$ref.split("/").pop()];
  const either = schema && (schema.oneOf || schema.anyOf);
  return either ? resolved(either.find((one) => one.type !== "null"), api) : schema;
}

function table(rows) {
  return element("table", "", rows.map(([name, what, about]) => {
    const cells = [element("td", "", [element("code", name)]), element("td", what), element("td", about)];
    return element("tr", "", cells);
  }));
}

function fields(schema, api) {
  const whole = resolved(schema, api) || {};
  const required = new Set(whole.required || []);
  return Object.entries(whole.properties || {}).map(([name, property]) => {
    const about = property.description || (resolved(property, api) || {}).description || "";
    return [required.has(name) ? `${name} *` : name, kind(property, api), about];
  });
}

function example(path, method, operation) {
  const parts = [`curl -H "Authorization: Bearer $TOKEN"`];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  const types = Object.keys((operation.requestBody || { content: {} }).content);
  if (types.includes("application/json")) parts.push(`-H "Content-Type: application/json" -d '{…}'`);
  else if (types.length) parts.push(`-H "Content-Type: ${types[0]}" --data-binary @file`);
  parts.push(`"${location.origin}${path}"`);
  return parts.join(" ");
}

function shown(path, method, operation, api) {
  const says = (operation.summary || "").trim();
  const head = element("summary", "", [
    named("span", "method", method.toUpperCase()), element("code", path), named("span", "says", says),
  ]);
  const body = [head];
  if (operation.description) body.push(element("p", operation.description));
  body.push(element("pre", example(path, method, operation)));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    body.push(element("h3", "Parameters"), table(parameters.map((one) => [
      one.required ? `${one.name} *` : one.name, `${one.in}: ${kind(one.schema, api)}`, one.description || "",
    ])));
  }
  for (const [type, content] of Object.entries((operation.requestBody || { content: {} }).content)) {
    body.push(element("h3", `Body: ${type}`));
    const rows = fields(content.schema, api);
    if (rows.length) body.push(table(rows));
  }
  body.push(element("h3", "Answers"), table(Object.entries(operation.responses).sort().map(
    ([status, response]) => [status, Object.keys(response.content || {}).join(", "), response.description],
  )));
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const json = good && (good[1].content || {})["application/json"];
  const data = json && (resolved(json.schema, api) || {}).properties;
  const rows = data && data.data ? fields(data.data, api) : [];
  if (rows.length) body.push(element("h3", "data"), table(rows));
  const made = element("details", "", body);
  made.dataset.words = `${method} ${path} ${says}`.toLowerCase();
  return made;
}

async function main() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json: ${answer.status}`);
  const api = await answer.json();
  document.getElementById("about").textContent = api.info.description;
  const sections = api.tags.map((tag) => {
    const heading = element("h2", `${tag.name} `, [element("small", tag.description)]);
    const section = element("section", "", [heading]);
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (operation && operation.tags.includes(tag.name)) section.append(shown(path, method, operation, api));
      }
    }
    return section;
  });
  document.getElementById("operations").replaceChildren(...sections);
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase();
    for (const one of document.querySelectorAll("details")) one.hidden = !one.dataset.words.includes(words);
    for (const one of document.querySelectorAll("section")) {
      one.hidden = ![...one.querySelectorAll("details")].some((inside) => !inside.hidden);
    }
  });
}

main().catch((error) => document.getElementById("operations").replaceChildren(element("p", String(error))));
