/** Words for names that come from elsewhere: not all of them are known. */

import { i18n } from '@/i18n'
import { harmless } from './format'

/** The words at `path.name`, or else the name itself, or all that it is a part of. */
export function wordOf(path: string, name: string, whole = name): string {
  const { t, te } = i18n.global
  return te(`${path}.${name}`) ? t(`${path}.${name}`) : harmless(whole)
}
