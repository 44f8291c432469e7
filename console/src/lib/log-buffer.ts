/**
 * The lines of a log, as many as are worth keeping in a page, and those of them that a filter lets through. A thousand lines a second
 * may come: nothing here is reactive; whoever shows the lines looks at `version` once a frame.
 */

import { harmless, withoutAnsi } from './format'

export const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR'] as const
export type Level = (typeof LEVELS)[number]

export interface LogLine {
  /** Counts from 0 in the order in which the lines came. */
  number: number
  timestamp: string
  level: Level
  /** Without colours and what could turn the text around; may have several lines. */
  message: string
}

interface LogFilter {
  /** Only lines of at least this level. */
  level: Level
  /** Only lines that contain this, whatever the case. */
  text: string
}

const CAPACITY = 20_000
/** The longest message that is kept whole. */
const LONGEST = 10_000

export class LogBuffer {
  private lines: LogLine[] = []
  private matches: LogLine[] = []
  private filter: LogFilter = { level: 'DEBUG', text: '' }
  private count = 0
  /** Changes with every change. */
  version = 0
  /** Lines that were let go. */
  dropped = 0

  constructor(private readonly capacity = CAPACITY) {}

  push(timestamp: string, level: string, message: string): void {
    const clean = harmless(withoutAnsi(message))
    const line: LogLine = {
      number: this.count,
      timestamp,
      level: (LEVELS as readonly string[]).includes(level) ? (level as Level) : 'INFO',
      message: clean.length > LONGEST ? `${clean.slice(0, LONGEST)}…` : clean,
    }
    this.count += 1
    this.lines.push(line)
    if (this.lets(line)) this.matches.push(line)
    // Many at once: moving an array for each line would be slow.
    if (this.lines.length > this.capacity * 1.25) {
      const gone = this.lines.length - this.capacity
      this.lines.splice(0, gone)
      this.dropped += gone
      const first = this.lines[0]?.number ?? 0
      const at = this.matches.findIndex((match) => match.number >= first)
      this.matches.splice(0, at < 0 ? this.matches.length : at)
    }
    this.version += 1
  }

  clear(): void {
    this.lines = []
    this.matches = []
    this.dropped = 0
    this.version += 1
  }

  setFilter(filter: LogFilter): void {
    this.filter = { level: filter.level, text: filter.text.toLowerCase() }
    this.matches = this.lines.filter((line) => this.lets(line))
    this.version += 1
  }

  /** The lines that the filter lets through, oldest first. Not to be changed. */
  get shown(): readonly LogLine[] {
    return this.matches
  }

  /** How many lines there are in all. */
  get size(): number {
    return this.lines.length
  }

  private lets(line: LogLine): boolean {
    if (LEVELS.indexOf(line.level) < LEVELS.indexOf(this.filter.level)) return false
    return this.filter.text === '' || line.message.toLowerCase().includes(this.filter.text)
  }
}
