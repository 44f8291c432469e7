/** Models to choose from, found as a name is typed. */

import { ref, shallowRef } from 'vue'
import { api, ask, Problem, type Model } from '@/api/client'

export function useModelSearch() {
  const found = shallowRef<Model[]>([])
  const searching = ref(false)
  const problem = shallowRef<Problem>()
  let latest = 0

  async function search(name: string): Promise<void> {
    const own = (latest += 1)
    searching.value = true
    try {
      const { items } = await ask(api.GET('/api/v2/ai/models', { params: { query: { name: name.trim() || undefined, limit: 50 } } }))
      if (own !== latest) return
      found.value = items
      problem.value = undefined
    } catch (error) {
      if (own !== latest) return
      problem.value = Problem.from(error)
    }
    searching.value = false
  }

  return { found, searching, problem, search }
}
