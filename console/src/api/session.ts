/**
 * Who is signed in. The token lies in this tab's own storage, or in this browser's if its owner wants to stay signed in:
 * both are of this origin alone. It is sent as a header and never stands in a URL.
 */

import { ref } from 'vue'

const KEY = 'trainyard.token'

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY)
  } catch {
    // Storage may be switched off.
    return null
  }
}

const token = ref<string | null>(stored())
/** Whether the service wants a token that it did not get. */
const needed = ref(false)

export const session = {
  token,
  needed,

  /** Signs in; whether the token is good shows with the next request. */
  signIn(secret: string, stay: boolean): void {
    token.value = secret.trim() || null
    needed.value = false
    try {
      sessionStorage.removeItem(KEY)
      localStorage.removeItem(KEY)
      if (token.value) (stay ? localStorage : sessionStorage).setItem(KEY, token.value)
    } catch {
      // It is good for as long as the page is open, then.
    }
  },

  signOut(): void {
    session.signIn('', false)
    needed.value = true
  },

  /** The service answered 401. */
  refused(): void {
    needed.value = true
  },

  /** The service answered anything else. */
  admitted(): void {
    needed.value = false
  },
}
