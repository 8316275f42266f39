// A reporter for Node's own test runner that writes one JSON object a line; lines.py says what the
// lines mean. Node's other reporters do not say which file a test is in. It runs in a stranger's
// project and needs nothing but Node (20 or newer; 18 says neither file nor suite).
//
//     node --test --test-reporter=node.mjs --test-reporter-destination=report.jsonl

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";

const LIBRARY = /node:|node_modules\/|<anonymous>\)$|\(native\)/;
const HOOKS = new Set(["hookFailed", "cancelledByParent"]);

function place(file) {
  if (!file) return "";
  return relative(process.cwd(), file.startsWith("file:") ? fileURLToPath(file) : file);
}

function folded(stack) {
  const lines = [];
  let count = 0;
  const close = () => {
    if (count) lines.push(`    [${count} library frame${count === 1 ? "" : "s"}]`);
    count = 0;
  };
  for (const line of String(stack).split("\n")) {
    if (/^\s*at /.test(line) && LIBRARY.test(line)) {
      count += 1;
    } else {
      close();
      lines.push(line);
    }
  }
  close();
  return lines.join("\n");
}

function shown(value) {
  return inspect(value, { depth: 6, breakLength: 80, sorted: true, maxArrayLength: 50 });
}

function columns(error, hook) {
  const cause = error?.cause ?? error;
  const kind = error?.failureType;
  const isError = cause !== null && typeof cause === "object";
  const message = String((isError ? cause.message : cause) ?? "");
  let type = (isError && (cause.name || cause.constructor?.name)) || "Error";
  if (kind === "testTimeoutFailure") type = "Timeout";
  if (kind === "cancelledByParent" && hook) return { ...hook, phase: "setup" };
  // The assertion's class crosses the boundary between processes as a plain error's.
  if (isError && cause.code === "ERR_ASSERTION") type = "AssertionError";
  const assertion =
    type === "AssertionError" && "expected" in cause
      ? `expected: ${shown(cause.expected)}\nactual: ${shown(cause.actual)}`
      : "";
  return {
    type,
    message,
    assertion,
    traceback: folded((isError && cause.stack) || message),
    phase: HOOKS.has(kind) ? "setup" : "call",
  };
}

export default async function* lines(source) {
  const line = (entry) => `${JSON.stringify(entry)}\n`;
  const open = new Map(); // file -> names of the tests that are open, by nesting
  const waiting = []; // results whose suite has not ended: its hook may be what failed them
  const parents = new Set(); // file, names: has subtests
  const failed = new Set(); // file, names: something below it failed
  const wrote = new Map(); // file -> what its process wrote to standard error
  yield line({ start: true });
  for await (const { type, data } of source) {
    const file = place(data?.file);
    if (type === "test:stderr") {
      wrote.set(file, (wrote.get(file) ?? "") + data.message);
      continue;
    }
    if (!["test:start", "test:pass", "test:fail"].includes(type)) continue;
    const names = open.get(file) ?? [];
    names.length = Math.min(names.length, data.nesting + (type === "test:start" ? 0 : 1));
    names[data.nesting] = data.name;
    open.set(file, names);
    const key = JSON.stringify([file, ...names]);
    const above = JSON.stringify([file, ...names.slice(0, -1)]);
    const script = data.nesting === 0 && place(data.name) === file;
    const id = script ? file : `${file}::${names.join(" > ")}`;
    if (type === "test:start") {
      if (data.nesting) parents.add(above);
      yield line({ begin: id });
      continue;
    }
    const bad = type === "test:fail" && data.todo === undefined && data.skip === undefined;
    if (bad || failed.has(key)) failed.add(above);
    const error = data.details?.error;
    const hook = error?.failureType === "hookFailed" ? columns(error) : undefined;
    let entry = {
      id,
      path: file,
      outcome: bad ? "failed" : "passed",
      seconds: (data.details?.duration_ms ?? 0) / 1000,
      failure: bad ? columns(error) : null,
    };
    if (data.skip !== undefined || data.todo !== undefined) entry.outcome = "skipped";
    if (bad && script) {
      // The file's process failed: it could not be loaded, or died with tests yet to run.
      const how = error?.signal ?? error?.exitCode;
      const message = `${file}: ${entry.failure.message} (it ended with ${how})`;
      const traceback = `${file}:\n${folded(wrote.get(file) ?? "")}`;
      yield line({ broken: { type: "FileError", message, traceback } });
      entry.failure = { type: "FileError", message, traceback, assertion: "", phase: "collect" };
    }
    if (bad && entry.failure.phase !== "call") entry.outcome = "error";
    if (bad && error?.failureType === "cancelledByParent") {
      waiting.push({ above, entry });
      continue;
    }
    for (const held of waiting.splice(0)) {
      if (hook && held.above === key) held.entry.failure = { ...hook, phase: "setup" };
      yield line(held.entry);
    }
    // A test with subtests is a suite: it counts when it failed and nothing below it did.
    const suite = parents.has(key) || data.details?.type === "suite";
    if (suite && (!bad || failed.has(key))) continue;
    yield line(entry);
  }
  for (const held of waiting) yield line(held.entry);
  yield line({ end: true });
}
