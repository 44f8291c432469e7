/** Series of points, made ready for a chart: one axis for all of them, and gaps where there is no number. */

export type Point = readonly [x: number, y: number | null]
export interface Series {
  name: string
  points: readonly Point[]
}

/** The values of every series at each x that any of them has, in order of x. What is no finite number is a gap. */
export function aligned(series: readonly Series[]): [number[], ...(number | null)[][]] {
  const places = new Map<number, number>()
  for (const { points } of series) for (const [x] of points) if (Number.isFinite(x)) places.set(x, 0)
  const xs = [...places.keys()].sort((a, b) => a - b)
  xs.forEach((x, at) => places.set(x, at))
  const columns = series.map(({ points }) => {
    const column: (number | null)[] = new Array<number | null>(xs.length).fill(null)
    for (const [x, y] of points) {
      const at = places.get(x)
      if (at !== undefined && y !== null && Number.isFinite(y)) column[at] = y
    }
    return column
  })
  return [xs, ...columns]
}

/** The last number of a series. */
export function last(series: Series): number | undefined {
  for (let at = series.points.length - 1; at >= 0; at -= 1) {
    const y = series.points[at]?.[1]
    if (y !== null && y !== undefined && Number.isFinite(y)) return y
  }
  return undefined
}

/** Colours that stay apart for most colour-blind people (after Okabe and Ito, 2008), for light and for dark. */
export const COLOURS = {
  light: ['#0072b2', '#d55e00', '#007a5a', '#aa4499', '#8a6d00', '#56a0d3', '#666666', '#b3001b'],
  dark: ['#56b4e9', '#ff9e4a', '#3ddc97', '#e58fcb', '#f0e442', '#9ecbff', '#bbbbbb', '#ff8a80'],
} as const

export const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]] as const
