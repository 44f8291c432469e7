/** Everything behind the page of a new training: what it holds, what it has asked the service, and what would be sent. */

import { computed, reactive, ref, shallowRef, watch } from 'vue'
import { api, ask, Problem, type Model, type PluginVersion, type Run } from '@/api/client'
import { withField } from '@/lib/json'
import { useAsked } from '@/lib/poll'
import { fieldsOf, fill, write, type Wrong } from '@/lib/schema-form'
import { datasetOf, emptyForm, optionsOf, placeOf, takeDataset, takeOptions, taskOf } from '@/lib/train-form'

export type Training = ReturnType<typeof useTraining>

export function useTraining() {
  const form = reactive(emptyForm())
  const existing = ref(false)
  const model = shallowRef<Model>()
  /** The run that the form was filled from. */
  const run = shallowRef<Run>()
  const loading = ref(false)
  const problem = shallowRef<Problem>()

  const plugins = useAsked((signal) => ask(api.GET('/api/v2/ai/plugins', { signal })))
  const versions = shallowRef<PluginVersion[]>([])
  const versionsProblem = shallowRef<Problem>()
  let asking: AbortController | undefined
  watch(
    () => form.plugin,
    async (name) => {
      asking?.abort()
      versions.value = []
      versionsProblem.value = undefined
      if (!name) return
      const { signal } = (asking = new AbortController())
      try {
        const found = await ask(api.GET('/api/v2/ai/plugins/{name}/versions', { params: { path: { name } }, signal }))
        if (!signal.aborted) versions.value = found.items
      } catch (error) {
        if (!signal.aborted) versionsProblem.value = Problem.from(error)
      }
    },
  )
  const newest = computed(() => plugins.data.value?.items.find(({ name }) => name === form.plugin))
  const plugin = computed(() => (form.version ? versions.value.find(({ version }) => version === form.version) : (newest.value ?? versions.value[0])))

  const fields = computed(() => fieldsOf(plugin.value?.parameters))
  const base = computed(() => (existing.value ? (model.value?.training_parameters ?? {}) : {}))
  /** Where the model's own parameters want the tensors. */
  const usualPlace = computed(() => placeOf(base.value, fields.value))
  const typed = computed(() => form.typed[form.plugin] ?? {})
  const filled = computed(() => fill(fields.value, typed.value, base.value))
  function type(name: string, text: string | undefined): void {
    form.typed[form.plugin] = withField(typed.value, name, text)
  }

  const tasks = computed<readonly string[]>(() => plugin.value?.tasks ?? [])
  const task = computed(() => taskOf(form, tasks.value))
  const dataset = computed(() => datasetOf(form, task.value, tasks.value))
  const options = computed(() => optionsOf(form))
  const body = computed(() => ({
    training_dataset: dataset.value.value,
    ...(Object.keys(filled.value.changed).length ? { training_parameters: filled.value.changed } : {}),
    ...options.value.value,
  }))
  const newModel = computed(() => ({ name: form.name.trim(), plugin: form.plugin, ...(form.version ? { plugin_version: form.version } : {}) }))

  const wrong = computed(() => {
    const all: Record<string, Wrong> = {}
    if (existing.value && !model.value) all.model = { key: 'model' }
    if (!existing.value && (form.name.trim() === '' || [...form.name.trim()].length > 200)) all.name = { key: 'modelName' }
    if (!form.plugin) all.plugin = { key: 'plugin' }
    for (const [name, one] of Object.entries(filled.value.wrong)) all[`parameter.${name}`] = one
    return { ...all, ...dataset.value.wrong, ...options.value.wrong }
  })

  /** Fills the form from a model, or from a run of it. */
  async function take(id: number, runId?: string): Promise<void> {
    loading.value = true
    problem.value = undefined
    try {
      const found = await ask(api.GET('/api/v2/ai/models/{id}', { params: { path: { id } } }))
      const from = runId ?? (found.training_dataset ? undefined : found.task_id)
      const source = from ? await ask(api.GET('/api/v2/ai/models/{id}/runs/{run}', { params: { path: { id, run: from } } })) : undefined
      existing.value = true
      model.value = found
      form.plugin = found.plugin
      form.version = found.plugin_version ?? ''
      const data = source?.training_dataset ?? found.training_dataset
      if (data) takeDataset(form, data)
      run.value = runId ? source : undefined
      untaken.value = run.value
      unplaced.value = run.value ? undefined : found
      if (run.value) takeOptions(form, run.value)
    } catch (error) {
      problem.value = Problem.from(error)
    }
    loading.value = false
  }

  /** A run whose parameters are taken as soon as the plugin's are known: those that the form would not have anyway. */
  const untaken = shallowRef<Run>()
  watch([plugin, untaken], ([found, source]) => {
    if (!found || !source) return
    untaken.value = undefined
    const texts: Record<string, string> = {}
    for (const field of fieldsOf(found.parameters)) {
      const value = source.training_parameters[field.name]
      if (value === undefined) continue
      const text = write(field, value)
      if (Object.keys(fill([field], { [field.name]: text }, base.value).changed).length) texts[field.name] = text
    }
    form.typed[source.plugin] = texts
  })

  /** A model whose word on where the tensors are to be is taken as soon as the plugin's own parameters are known. */
  const unplaced = shallowRef<Model>()
  watch([plugin, unplaced], ([found, source]) => {
    if (!found || !source) return
    unplaced.value = undefined
    Object.assign(form, placeOf(source.training_parameters ?? {}, fieldsOf(found.parameters)))
  })

  function forget(): void {
    existing.value = false
    model.value = undefined
    run.value = undefined
    untaken.value = undefined
    unplaced.value = undefined
    problem.value = undefined
  }

  return {
    form, existing, model, run, loading, problem, plugins, versions, versionsProblem, newest, plugin, fields, base, usualPlace, typed, filled, type, tasks, task, dataset,
    options, body, newModel, wrong, take, forget,
  }
}
