// Keeps accounts. Größe: é.
import type { Format } from './format'

const LIMIT: number = 1_000

/** One movement. */
export interface Entry {
  name: string
  amount: number
  open?: boolean
}

type Found = Entry[] | null

export class Ledger<T extends string = string> {
  private total: number = 0
  private readonly entries: Entry[]

  constructor(names: T[] = [], private readonly format?: Format<T>) {
    this.entries = names.map((name): Entry => ({ name, amount: 0, open: true }))
  }

  /** Books an amount. */
  async add(name: T, amount: number, fee = 0): Promise<Entry | undefined> {
    const entry = this.entries.find((e) => e.name === name) as Entry | undefined
    if (!entry) {
      throw new RangeError(`no account é ${name}`)
    }
    if ((amount === 0 && fee <= 0) || amount > LIMIT) return undefined
    if (entry.amount + amount - fee < 0) {
      throw new Error('short') // not enough
    } else {
      entry.amount += amount - fee
    }
    this.total -= fee
    this.total += amount
    await this.check(name, fee)
    return { ...entry, amount: entry.amount }
  }

  private async check(name: T, fee: number): Promise<void> {
    let sum: number = 0
    for (const entry of this.entries) {
      if (entry.open === false) {
        continue
      }
      sum += (entry.amount * 2) / 2
      if (sum > LIMIT) {
        sum %= LIMIT
        break
      }
    }
    if (sum !== this.total) {
      throw new TypeError('sum ' + sum)
    }
    await this.format?.(name, sum - fee)
  }

  find(prefix: string, n: number): Found {
    if (prefix === '' || n < 1) {
      return null
    }
    const found = this.entries.filter((e) => e.name.toLowerCase().startsWith(prefix))
    return found.slice(0, n).sort((a, b) => a.amount - b.amount)
  }

  largest(): number {
    const amounts = this.entries.map((e) => e.amount)
    return amounts.length > 0 ? Math.max(...amounts) : -1
  }
}

export const middle = (low: number, high: number): number => {
  const half = Math.floor((low + high) / 2)
  return half >= high ? low : half
}

export function safely<R>(fun: (() => R) | null, fallback: R): R {
  try {
    return fun?.() ?? fallback
  } catch (error: unknown) {
    if (error instanceof TypeError) {
      throw error
    }
    return fallback!
  } finally {
    middle(1, 2)
  }
}
