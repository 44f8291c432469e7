/** A data set that is deleted from the list or from its own page. */

import { api, ask, Problem, type StoredDataset } from '@/api/client'
import { harmless } from '@/lib/format'
import { sure } from '@/lib/sure'

/** Asks first, then deletes. Gives why it was refused, such as being in use. */
export async function deleteDataset(
  dataset: StoredDataset,
  t: (key: string, values?: Record<string, unknown>) => string,
  busy: (is: boolean) => void,
): Promise<'kept' | 'deleted' | Problem> {
  const why = t('data.delete.ask', { name: harmless(dataset.name) })
  if (!(await sure({ title: t('data.delete.title'), why, yes: t('common.action.delete') }))) return 'kept'
  busy(true)
  try {
    await ask(api.DELETE('/api/v2/ai/datasets/{id}', { params: { path: { id: dataset.id } } }))
    return 'deleted'
  } catch (error) {
    return Problem.from(error)
  } finally {
    busy(false)
  }
}
