/** What is wrong with the fields of a form: known by all of them, so that each shows its own beside it. */

import { inject, provide, ref, type ComputedRef, type InjectionKey, type Ref } from 'vue'
import type { Problem } from '@/api/client'
import type { Wrong } from '@/lib/schema-form'

interface Fields {
  wrong: ComputedRef<Record<string, Wrong>>
  /** Whether somebody tried to submit: what is merely missing is not said before that. */
  attempted: Ref<boolean>
  /** What the service said of fields; each is gone as soon as its field is changed. */
  said: Ref<Record<string, string>>
}

const KEY: InjectionKey<Fields> = Symbol('fields')

export function provideFields(wrong: ComputedRef<Record<string, Wrong>>): Fields {
  const fields: Fields = { wrong, attempted: ref(false), said: ref({}) }
  provide(KEY, fields)
  return fields
}

export function useFields(): Fields {
  const fields = inject(KEY)
  if (!fields) throw new Error('a field stands outside of a form')
  return fields
}

/** What a field is not, before anything was typed. */
export const ABSENT = ['missing', 'modelName', 'model', 'plugin', 'dataset', 'path', 'targets']

/** The fields that a refusal of the service is about, and what it says of each. */
export function saidOf(problem: Problem): Record<string, string> {
  const said: Record<string, string> = {}
  const problems = (problem.details as { problems?: unknown } | undefined)?.problems
  if (problem.code === 'invalid-parameters' && Array.isArray(problems)) {
    for (const one of problems as { parameter?: unknown; problem?: unknown; allowed?: unknown }[]) {
      const name = String(one.parameter).split(/[.[]/)[0] ?? ''
      const text = [one.problem, one.allowed].filter((part) => typeof part === 'string').join('; ')
      const field = `parameter.${name}`
      said[field] = said[field] ? `${said[field]}. ${text}` : text
    }
  }
  if (problem.code === 'invalid-limit') said[problem.message.startsWith('memory') ? 'memory_limit_mb' : 'time_limit'] = problem.message
  if (problem.code === 'invalid-label') said.labels = problem.message
  return said
}
