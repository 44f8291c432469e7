/** Where in an author's Python something is: the lines of tracebacks, and the version. */

import type { Problem } from '@/api/client'

// As tracebacks have it, and as the service's one-line messages do.
const PLACE = /(?:File )?"?\bplugin\.py"?, line (\d+)/

/** The line of `plugin.py` that a line of text speaks of. */
export function lineIn(written: string): number | undefined {
  const found = PLACE.exec(written)?.[1]
  return found === undefined ? undefined : Number(found)
}

interface Failure {
  file?: unknown
  line?: unknown
  traceback?: unknown
}

/** What Python said, of a problem that the service had with a plugin's source. */
export function tracebackOf(problem: Problem): string | undefined {
  const details = problem.details as { exception?: Failure } | null | undefined
  const traceback = details?.exception?.traceback
  return typeof traceback === 'string' ? traceback : undefined
}

/** The last lines of the log that came with a problem. */
export function logOf(problem: Problem): string[] {
  const log = (problem.details as { log?: unknown } | null | undefined)?.log
  if (typeof log === 'string') return log.split('\n')
  if (!Array.isArray(log)) return []
  return log.map((line: unknown) => {
    const message = (line as { message?: unknown } | null)?.message
    return String(typeof line === 'string' ? line : (message ?? JSON.stringify(line)))
  })
}

/** The author's innermost line in a problem: where it went wrong may be below, in the library. */
export function lineOf(problem: Problem): number | undefined {
  const details = problem.details as { exception?: Failure } | null | undefined
  const { file, line } = details?.exception ?? {}
  if (file === 'plugin.py' && typeof line === 'number') return line
  const texts = [tracebackOf(problem) ?? '', problem.message, ...logOf(problem)]
  for (const text of texts) {
    const lines = text.split('\n').map(lineIn).filter((at) => at !== undefined)
    if (lines.length) return lines.at(-1)
  }
  return undefined
}

const VERSION = /^([ \t]+version[ \t]*(?::[ \t]*str[ \t]*)?=[ \t]*)(["'])([^"'\n]*)\2/m
/** What an author writes beside a version; it may be left out itself. */
const BESIDE = /^([ \t]+)(?:name|tasks)[ \t]*(?::[^=\n]*)?=/m

/** The source with another version in it; undefined where no place for it is found. */
export function withVersion(source: string, version: string): string | undefined {
  if (VERSION.test(source)) return source.replace(VERSION, (_all, before: string, quote: string) => `${before}${quote}${version}${quote}`)
  const beside = BESIDE.exec(source)
  if (!beside) return undefined
  return `${source.slice(0, beside.index)}${beside[1]}version = "${version}"\n${source.slice(beside.index)}`
}

/** The first patch version after `version` that is not taken. */
export function nextPatch(version: string, taken: readonly string[]): string | undefined {
  const parts = (one: string) => /^(\d+)\.(\d+)\.(\d+)/.exec(one)?.slice(1, 4).map(Number)
  const own = parts(version)
  if (!own) return undefined
  const line = taken.map(parts).filter((other) => other && other[0] === own[0] && other[1] === own[1])
  const highest = Math.max(own[2] ?? 0, ...line.map((other) => other?.[2] ?? 0))
  return `${own[0]}.${own[1]}.${highest + 1}`
}
