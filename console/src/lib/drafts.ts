/** What is being written in the editor, kept in this browser alone so that a reload loses nothing. */

import { drop, keep, kept } from './storage'

const KEY = 'trainyard.draft.'

/** What was written on top of something: a stored version, a file, or the template. */
export const draftOf = (origin: string): string | undefined => kept(KEY + origin) ?? undefined

/** Whether it could be kept. */
export const keepDraft = (origin: string, text: string): boolean => keep(KEY + origin, text)

export const dropDraft = (origin: string): void => drop(KEY + origin)

/** The names of the origins of a draft. */
export const origins = {
  template: 'new',
  stored: (name: string, version: string) => `plugin.${name}.${version}`,
  file: (name: string) => `file.${name}`,
}
