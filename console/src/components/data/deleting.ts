import { ElMessageBox } from 'element-plus'
import 'element-plus/es/components/message-box/style/css'
import { api, ask, Problem, type StoredDataset } from '@/api/client'
import { harmless } from '@/lib/format'

/** Asks first, then deletes. Gives why it was refused, such as being in use. */
export async function deleteDataset(
  dataset: StoredDataset,
  t: (key: string, values?: Record<string, unknown>) => string,
  busy: (is: boolean) => void,
): Promise<'kept' | 'deleted' | Problem> {
  try {
    await ElMessageBox.confirm(t('data.delete.ask', { name: harmless(dataset.name) }), t('data.delete.title'), {
      confirmButtonText: t('common.action.delete'),
      cancelButtonText: t('common.action.cancel'),
      type: 'warning',
    })
  } catch {
    return 'kept'
  }
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
