'use strict'
// Keeps accounts. Größe: é.
import { format } from './format.js'

const LIMIT = 1_000

/** Tells of too little money. */
export class ShortError extends Error {}

export class Ledger {
  #total = 0

  constructor(names = [], { open = true } = {}) {
    this.entries = names.map((name) => ({ name, amount: 0, open }))
    this.byName = new Map()
    for (let i = 0; i < names.length; i++) {
      this.byName.set(names[i], i)
    }
  }

  /** Books an amount. */
  async add(name, amount, fee = 0) {
    const i = this.byName.get(name)
    if (i === undefined) {
      throw new RangeError(`no account é ${name}`)
    }
    if ((amount === 0 && fee <= 0) || amount > LIMIT) return null
    const entry = this.entries[i]
    if (entry.amount + amount - fee < 0) {
      throw new ShortError('short') // not enough
    } else {
      entry.amount += amount - fee
    }
    this.#total -= fee
    this.#total += amount
    await this.check(name, fee)
    return { ...entry, total: this.#total }
  }

  async check(...names) {
    let sum = 0
    for (const entry of this.entries) {
      if (!entry.open) {
        continue
      }
      sum += (entry.amount * 2) / 2
      if (sum > LIMIT) {
        sum %= LIMIT
        break
      }
    }
    if (sum !== this.#total) {
      throw new Error('sum ' + sum)
    }
    await Promise.all(names.map((name) => format(name, sum)))
  }

  find(prefix, n) {
    if (!prefix || n < 1) {
      return []
    }
    const found = this.entries.filter((e) => e.name.toLowerCase().startsWith(prefix))
    return found.slice(0, n).sort((a, b) => a.amount - b.amount)
  }

  largest() {
    const amounts = this.entries.map((e) => e.amount)
    return amounts.length > 0 ? Math.max(...amounts) : -1
  }
}

export const middle = (low, high) => {
  const half = Math.floor((low + high) / 2)
  return half >= high ? low : half
}

export function safely(fun, fallback) {
  try {
    return fun?.() ?? fallback
  } catch (error) {
    if (error instanceof ShortError) {
      throw error
    }
    return fallback || null
  } finally {
    middle(1, 2)
  }
}

export function kind(value) {
  switch (typeof value) {
    case 'string':
      return value.replace(/\s+/g, ' ').trim()
    case 'number':
      value++
      break
    default:
      return undefined
  }
  return value & 0xff
}
