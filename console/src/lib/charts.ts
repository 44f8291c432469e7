/** Which series share a chart: a figure and what is the same figure on other rows, such as `loss` and `validation_loss`. */

import type { Series } from './series'

/** Charts that are drawn; a plugin may tell any number of figures. */
export const MOST_CHARTS = 12

/** Groups of series, in the order in which they were told. */
export function grouped(series: readonly Series[]): Series[][] {
  const groups: { stem: string; members: Series[] }[] = []
  for (const one of series) {
    const stem = stemOf(one.name)
    const group = groups.find((known) => known.stem === stem)
    if (group) group.members.push(one)
    else groups.push({ stem, members: [one] })
  }
  return groups.map(({ members }) => members)
}

/** The figure's own name, without the rows that it is of. */
function stemOf(name: string): string {
  return name.toLowerCase().replace(/^(train|training|val|valid|validation|test|eval)[ _./-]+|[ _./-]+(train|training|val|valid|validation|test|eval)$/g, '')
}
