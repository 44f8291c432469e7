/** What this browser keeps for the page. Its storage may be full or switched off; the page does without it then. */

export function kept(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

/** Whether it could be kept. */
export function keep(key: string, text: string): boolean {
  try {
    localStorage.setItem(key, text)
    return true
  } catch {
    return false
  }
}

export function drop(key: string): void {
  try {
    localStorage.removeItem(key)
  } catch {
    // There is none, then.
  }
}
