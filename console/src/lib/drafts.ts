/** What is being written in the editor, kept in this browser alone so that a reload loses nothing. */

const KEY = 'trainyard.draft.'

/** What was written on top of something: a stored version, a file, or the template. */
export function draftOf(origin: string): string | undefined {
  try {
    return localStorage.getItem(KEY + origin) ?? undefined
  } catch {
    return undefined
  }
}

/** Whether it could be kept. */
export function keepDraft(origin: string, text: string): boolean {
  try {
    localStorage.setItem(KEY + origin, text)
    return true
  } catch {
    return false
  }
}

export function dropDraft(origin: string): void {
  try {
    localStorage.removeItem(KEY + origin)
  } catch {
    // There is none, then.
  }
}

/** The names of the origins of a draft. */
export const origins = {
  template: 'new',
  stored: (name: string, version: string) => `plugin.${name}.${version}`,
  file: (name: string) => `file.${name}`,
}
