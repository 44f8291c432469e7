/** Small tables to try a plugin on. They are made here, always the same, and small enough to train on in seconds. */

interface Sample {
  name: 'series' | 'regression' | 'classification'
  task: 'forecasting' | 'regression' | 'classification'
  columns: string[]
  target: string
  csv: () => string
}

/** Numbers in [0, 1) that look random (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Roughly normal: the sum of twelve. */
function noise(next: () => number): number {
  let sum = -6
  for (let at = 0; at < 12; at += 1) sum += next()
  return sum
}

function table(columns: string[], rows: (string | number)[][]): string {
  const cell = (value: string | number) => (typeof value === 'number' ? String(Number(value.toFixed(4))) : value)
  return [columns, ...rows.map((row) => row.map(cell))].map((row) => row.join(',')).join('\n') + '\n'
}

/** Two years of days: a trend, a season of a year and one of a week, noise, and a second column that goes with it. */
function series(columns: string[]): string {
  const next = numbers(1)
  const rows = Array.from({ length: 730 }, (_, day) => {
    const date = new Date(Date.UTC(2023, 0, 1 + day)).toISOString().slice(0, 10)
    const temperature = 12 - 10 * Math.cos((2 * Math.PI * day) / 365) + 1.5 * noise(next)
    const weekend = day % 7 === 0 || day % 7 === 6 ? -8 : 0
    return [date, 100 + 0.03 * day - 1.2 * temperature + weekend + 2 * noise(next), temperature]
  })
  return table(columns, rows)
}

function regression(columns: string[]): string {
  const next = numbers(2)
  const rows = Array.from({ length: 400 }, () => {
    const [area, rooms, age] = [40 + 120 * next(), 1 + Math.floor(5 * next()), Math.floor(60 * next())]
    return [area, rooms, age, 20 + 3.1 * area + 12 * rooms - 1.4 * age + 15 * noise(next)]
  })
  return table(columns, rows)
}

function classification(columns: string[]): string {
  const next = numbers(3)
  const kinds: [string, number, number][] = [
    ['round', 4, 4],
    ['long', 7, 3],
    ['large', 7, 6.5],
  ]
  const rows = Array.from({ length: 450 }, (_, at) => {
    const [kind, length, width] = kinds[at % kinds.length] ?? ['round', 4, 4]
    return [length + noise(next), width + 0.8 * noise(next), kind]
  })
  return table(columns, rows)
}

function sample(name: Sample['name'], task: Sample['task'], columns: string[], target: string, make: (columns: string[]) => string): Sample {
  return { name, task, columns, target, csv: () => make(columns) }
}

export const SAMPLES: readonly Sample[] = [
  sample('series', 'forecasting', ['date', 'demand', 'temperature'], 'demand', series),
  sample('regression', 'regression', ['area', 'rooms', 'age', 'price'], 'price', regression),
  sample('classification', 'classification', ['length', 'width', 'kind'], 'kind', classification),
]
