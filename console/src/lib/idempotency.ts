/** Requests that must not count twice. */

import { Problem } from '@/api/client'

/** 32 random hexadecimal digits; `randomUUID` is not there on plain http. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Sends with a key: the same one again as long as no answer came, so that the service knows the request if it arrived after all. */
export function useOnce() {
  const keys = new Map<string, string>()
  return async function once<T>(what: string, content: unknown, send: (key: string) => Promise<T>): Promise<T> {
    const print = `${what} ${JSON.stringify(content)}`
    const key = keys.get(print) ?? randomKey()
    keys.clear()
    keys.set(print, key)
    try {
      const answer = await send(key)
      keys.clear()
      return answer
    } catch (error) {
      if (Problem.from(error).status !== 0) keys.clear()
      throw error
    }
  }
}
