/** What the rows are that a form describes: known at once for an upload, read on request elsewhere. */

import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'
import { api, ask, Problem, type DataReport, type StoredDataset, type TrainingDataset } from '@/api/client'
import { sourceOf, type TrainForm } from '@/lib/train-form'

export function useReport(form: TrainForm) {
  const report = shallowRef<DataReport>()
  const stored = shallowRef<StoredDataset>()
  const problem = shallowRef<Problem>()
  const looking = ref(false)
  /** What the report is of, to notice when the form says something else. */
  const seen = ref('')

  const described = computed(() => ({
    ...sourceOf(form).value,
    ...(form.time && form.source !== 'tdengine' ? { time: form.time } : {}),
    ...(form.device ? { device_column: form.device } : {}),
  }))
  const print = computed(() => JSON.stringify(described.value))
  const stale = computed(() => Boolean(report.value) && seen.value !== print.value)

  let asking: AbortController | undefined
  onScopeDispose(() => asking?.abort())

  async function look(): Promise<void> {
    asking?.abort()
    const { signal } = (asking = new AbortController())
    const own = print.value
    const wanted = described.value
    looking.value = true
    problem.value = undefined
    try {
      const found = await (isPlainUpload() ? storedReport(signal) : ask(api.POST('/api/v2/ai/datasets/preview', { body: { dataset: wanted as unknown as TrainingDataset }, signal })))
      if (signal.aborted) return
      report.value = found
      seen.value = own
    } catch (error) {
      if (signal.aborted) return
      problem.value = Problem.from(error)
    }
    looking.value = false
  }

  /** Whether what was found at the upload is all that is asked for. */
  const isPlainUpload = () => form.source === 'upload' && !form.time && !form.device
  async function storedReport(signal: AbortSignal): Promise<DataReport> {
    if (stored.value?.id !== form.datasetId) {
      stored.value = await ask(api.GET('/api/v2/ai/datasets/{id}', { params: { path: { id: form.datasetId } }, signal }))
    }
    return stored.value.report
  }

  watch(
    [() => form.source, () => form.datasetId],
    () => {
      asking?.abort()
      looking.value = false
      report.value = undefined
      problem.value = undefined
    },
    { flush: 'sync' },
  )
  watch(
    [() => form.source, () => form.datasetId, () => form.time, () => form.device],
    () => {
      if (form.source === 'upload' && form.datasetId) void look()
    },
    { immediate: true },
  )

  return { report, problem, looking, stale, look, print }
}
