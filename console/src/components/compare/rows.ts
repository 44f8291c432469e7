/** What stands in the table of compared runs. */

import type { Report } from '@/api/client'
import { differ, figuresOf, rowsOf } from '@/lib/compare'
import { duration, figure, harmless, moment, text } from '@/lib/format'
import { isObject, type Json } from '@/lib/json'
import { cardFigures } from '@/lib/usage'

interface Cell {
  shown: string
  /** All of it, where `shown` is a part. */
  whole?: string
  best?: boolean
}

interface Row {
  key: string
  name: string
  hint?: string
  /** More of it, for who asks. */
  about?: string
  differs: boolean
  cells: Cell[]
}

interface Group {
  key: string
  /** What is said instead of rows. */
  none?: string
  folds?: boolean
  rows: Row[]
}

type Translate = (key: string, named?: Record<string, unknown>) => string

const LONGEST = 160

const fields = (value: unknown): Json => (isObject(value) ? value : {})
const lineage = (report: Report | undefined): Json => fields(fields(report?.run.lineage).data)

/** In one line that is not endless: a list of columns may have thousands. */
function cell(written: string): Cell {
  return written.length > LONGEST ? { shown: `${written.slice(0, LONGEST)}…`, whole: written.slice(0, 4000) } : { shown: written }
}

function shortened(hash: unknown): Cell {
  const written = typeof hash === 'string' ? harmless(hash) : ''
  return written.length > 16 ? { shown: `${written.slice(0, 12)}…`, whole: written } : cell(written || '–')
}

function list(value: unknown): Cell {
  if (!Array.isArray(value) || !value.length) return cell('–')
  return cell(value.map((one) => text(one)).join(', '))
}

const any = (value: unknown): Cell => cell(value === undefined || value === null ? '–' : typeof value === 'number' ? figure(value, 6) : text(value))

/** The groups of rows; a run that could not be read has empty cells. */
export function groupsOf(reports: readonly (Report | undefined)[], t: Translate, locale: string): Group[] {
  const rows = (entries: readonly [key: string, value: (report: Report) => unknown, show?: (value: unknown) => Cell][]): Row[] =>
    entries.flatMap(([key, value, show = any]) => {
      const values = reports.map((report) => report && value(report))
      if (values.every((one) => one === undefined || one === null)) return []
      const compared = values.filter((_one, at) => reports[at])
      return [{ key, name: t(`compare.row.${key}`), differs: differ(compared.map((one) => one ?? null)), cells: values.map((one) => show(one)) }]
    })

  const figures = figuresOf(reports.map((report) => report?.metrics ?? [])).map((row): Row => ({
    key: row.name,
    name: harmless(row.name),
    hint: row.maximize === null ? undefined : t(row.maximize ? 'compare.more' : 'compare.less'),
    about: harmless(row.summary) || undefined,
    differs: false,
    cells: row.values.map((value, at) => ({ ...cell(figure(value, 5)), best: row.best.includes(at) })),
  }))

  const parameters = rowsOf(reports.flatMap((report) => (report ? [report.run.training_parameters] : [])))
  const parameterRow = (name: string, differs: boolean): Row => ({
    key: name,
    name: harmless(name),
    about: harmless(describe(reports, name)) || undefined,
    differs,
    cells: reports.map((report) => any(report && Object.hasOwn(report.run.training_parameters, name) ? report.run.training_parameters[name] : undefined)),
  })
  const different = parameters.filter((row) => row.differs).map(({ name }) => parameterRow(name, true))
  const equal = parameters.filter((row) => !row.differs).map(({ name }) => parameterRow(name, false))

  const asked = (name: string) => (report: Report) => fields(report.run.training_dataset)[name]
  const known = (name: string) => (report: Report) => lineage(report)[name]
  const used = (name: string) => (report: Report) => fields(report.run.resource_usage)[name]
  const number = (digits: number, unit: string) => (value: unknown) => cell(typeof value === 'number' ? `${figure(value, digits)} ${unit}` : '–')
  const seconds = (value: unknown) => cell(duration(typeof value === 'number' ? value : null))

  return [
    { key: 'figures', none: t('compare.noFigures'), rows: figures },
    ...(reports.length > 1 ? [{ key: 'different', none: t('compare.allEqual'), rows: different }] : []),
    { key: 'equal', folds: reports.length > 1, rows: equal },
    {
      key: 'data',
      rows: rows([
        ['source', (report) => lineage(report).source ?? fields(report.run.training_dataset).source],
        ['fingerprint', known('fingerprint'), shortened],
        ['rows', known('rows')],
        ['splits', (report) => splits(lineage(report).splits) ?? asked('split')(report)],
        ['features', known('features'), list],
        ['targets', known('targets'), list],
        ['classes', (report) => nonempty(known('classes')(report)), list],
        ['time', known('time'), list],
        ['step', known('step')],
        ['lookback', asked('lookback')],
        ['horizon', asked('horizon')],
        ['preprocess', asked('preprocess'), preparation],
      ]),
    },
    {
      key: 'plugin',
      rows: rows([
        ['plugin', (report) => `${report.run.plugin} ${report.run.plugin_version}`],
        ['digest', (report) => report.run.plugin_digest, shortened],
      ]),
    },
    {
      key: 'run',
      rows: rows([
        ['seed', (report) => report.run.seed, (value) => cell(String(value ?? '–'))],
        ['started', (report) => report.run.started_at, (value) => cell(moment(typeof value === 'string' ? value : null, locale))],
        ['waited', (report) => report.waited_seconds, seconds],
        ['worked', (report) => report.worked_seconds, seconds],
        ['cpu', used('cpu_percent'), number(3, '%')],
        ['memory', used('memory_mb'), number(4, 'MiB')],
        ['gpu', (report) => cardFigures(report.run.resource_usage).find(([key]) => key === 'gpu')?.[1], number(3, '%')],
        ['worker', (report) => report.run.worker],
        ['attempt', (report) => report.run.attempt],
        ['sweep', (report) => report.run.sweep_id],
      // Times and machines always differ; that says nothing.
      ]).map((row) => (['seed', 'worker'].includes(row.key) ? row : { ...row, differs: false })),
    },
  ]
}

function describe(reports: readonly (Report | undefined)[], name: string): string {
  for (const report of reports) {
    const description = report?.parameters.find((parameter) => parameter.name === name)?.description
    if (typeof description === 'string') return description
  }
  return ''
}

const nonempty = (value: unknown) => (Array.isArray(value) && value.length ? (value as unknown[]) : undefined)

function splits(value: unknown): string | undefined {
  return Array.isArray(value) ? value.map((split) => figure(fields(split).rows)).join(' / ') : undefined
}

function preparation(value: unknown): Cell {
  return cell(Object.entries(fields(value)).map(([name, choice]) => `${harmless(name)}: ${text(choice)}`).join(', ') || '–')
}
