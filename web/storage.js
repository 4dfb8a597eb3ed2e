/** What this browser keeps, and nobody else: JSON in its storage. A browser that keeps nothing, or is full, is no error. */

export const PAPER = "pynumdraw.paper"; // in sessionStorage: the strokes on the paper of this tab
export const TRAIL = "pynumdraw.trail"; // in localStorage: the last drawings and their answers

/** Keep a value under a name, null to forget it. storage: "sessionStorage" or "localStorage". */
export function keep(storage, name, value) {
  try {
    if (value === null) globalThis[storage].removeItem(name);
    else globalThis[storage].setItem(name, JSON.stringify(value));
  } catch {
    // not kept
  }
}

/** The value kept under a name, null where there is none that can be read. */
export function recall(storage, name) {
  try {
    return JSON.parse(globalThis[storage].getItem(name));
  } catch {
    return null;
  }
}
