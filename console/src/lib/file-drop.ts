/** Files that are dropped on an element, or chosen with an input. */

import { ref } from 'vue'

/** Whether a file is held over the element, and what to bind to it: `v-on="drops"`. */
export function useFileDrop(take: (files: FileList | undefined) => void) {
  const over = ref(false)
  const drops = {
    dragover(event: DragEvent) {
      event.preventDefault()
      over.value = true
    },
    dragleave(event: DragEvent) {
      // Not where it merely passes from one part of the element to another.
      if (!(event.currentTarget as Node).contains(event.relatedTarget as Node | null)) over.value = false
    },
    drop(event: DragEvent) {
      event.preventDefault()
      over.value = false
      take(event.dataTransfer?.files)
    },
  }
  return { over, drops }
}
