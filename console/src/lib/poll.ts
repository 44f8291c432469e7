/** Asks again and again while a page is shown, and not while its tab is hidden. */

import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from 'vue'
import { Problem } from '@/api/client'

export interface Asked<T> {
  /** The last good answer. It stays while later ones fail. */
  data: ShallowRef<T | undefined>
  /** Why the last answer was none. */
  problem: ShallowRef<Problem | undefined>
  /** Whether the first answer is still awaited, or one that was asked for by hand. */
  loading: Ref<boolean>
  /** Asks now. */
  refresh: () => Promise<void>
}

/**
 * Asks once, and then every so many milliseconds if `every` says so: a number, or a function that is asked after each answer
 * and may end it with `null`. Ends with the component.
 */
export function useAsked<T>(
  question: (signal: AbortSignal) => Promise<T>,
  every: number | null | (() => number | null) = null,
): Asked<T> {
  const data = shallowRef<T>()
  const problem = shallowRef<Problem>()
  const loading = ref(true)
  let timer: ReturnType<typeof setTimeout> | undefined
  let asking: AbortController | undefined
  let over = false

  async function refresh(): Promise<void> {
    clearTimeout(timer)
    asking?.abort()
    const own = (asking = new AbortController())
    loading.value = data.value === undefined || loading.value
    try {
      const answer = await question(own.signal)
      if (own.signal.aborted) return
      data.value = answer
      problem.value = undefined
    } catch (error) {
      if (own.signal.aborted) return
      problem.value = Problem.from(error)
    }
    loading.value = false
    again()
  }

  function again(): void {
    clearTimeout(timer)
    const pause = typeof every === 'function' ? every() : every
    // A page that shows an error comes back by itself.
    const wait = pause ?? (problem.value?.status === 0 ? 3000 : null)
    if (!over && wait !== null) timer = setTimeout(() => (document.hidden ? again() : void refresh()), wait)
  }

  const seen = () => {
    if (!document.hidden && timer !== undefined && !over && every !== null) void refresh()
  }
  document.addEventListener('visibilitychange', seen)
  onScopeDispose(() => {
    over = true
    clearTimeout(timer)
    asking?.abort()
    document.removeEventListener('visibilitychange', seen)
  })
  void refresh()
  return { data, problem, loading, refresh }
}
