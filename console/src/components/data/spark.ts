/** How numbers run, as lines of a picture. */

import { isNumber } from '@/lib/json'

/** Points of a line in a box; a new line after every gap. */
export function linesOf(values: readonly (number | null)[], width: number, height: number, margin: number): string[] {
  const finite = values.filter(isNumber)
  if (!finite.length) return []
  const least = Math.min(...finite)
  const range = Math.max(...finite) - least
  const step = width / Math.max(1, values.length)
  const lines: string[][] = [[]]
  values.forEach((value, at) => {
    if (!isNumber(value)) {
      if (lines.at(-1)?.length) lines.push([])
      return
    }
    // Halved first, since the range of the largest numbers there are is infinite.
    const share = range === 0 ? 0.5 : Number.isFinite(range) ? (value - least) / range : (value / 2 - least / 2) / (Math.max(...finite) / 2 - least / 2)
    lines.at(-1)?.push(`${((at + 0.5) * step).toFixed(2)},${(height - margin - share * (height - 2 * margin)).toFixed(2)}`)
  })
  return lines.filter((line) => line.length).map((line) => (line.length === 1 ? dash(line[0] ?? '', step) : line.join(' ')))
}

/** A single point as a line that can be seen. */
function dash(point: string, step: number): string {
  const [x, y] = point.split(',')
  return [-0.3, 0.3].map((part) => `${(Number(x) + part * step).toFixed(2)},${y}`).join(' ')
}
