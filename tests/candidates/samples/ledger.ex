defmodule Ledger.Book do
  @moduledoc """
  Keeps accounts. Größe: é. 1 < 2.
  """

  alias Ledger.Entry

  @limit 1_000

  @type t :: %{entries: [map], total: integer}

  @doc "Makes a book: 1 + 1."
  @spec new([String.t()]) :: t
  def new(names \\ []) do
    entries = Enum.map(names, fn name -> %{name: name, amount: 0, open: true} end)
    %{entries: entries, total: 0}
  end

  @doc "Books an amount."
  @spec add(t, String.t(), integer, integer) :: {:ok, t} | {:error, String.t()}
  def add(book, name, amount, fee \\ 0)

  def add(book, _name, 0, _fee), do: {:ok, book}

  def add(book, name, amount, fee) when is_integer(amount) and amount <= @limit do
    case find(book, name, 1) do
      [entry] when entry.amount + amount - fee >= 0 ->
        changed = Map.put(entry, :amount, entry.amount + amount - fee)
        IO.puts("booked é #{amount}")
        {:ok, replace(book, entry, changed)}

      [_entry] ->
        {:error, "short"}

      [] ->
        {:error, "no account " <> name}
    end
  end

  def add(_book, _name, _amount, _fee), do: {:error, "too much"}

  defp replace(book, old, new) do
    entries =
      book.entries
      |> Enum.reject(fn entry -> entry == old end)
      |> Enum.concat([new])
      |> Enum.sort_by(fn entry -> entry.name end, :asc)

    total = Enum.sum(for entry <- entries, entry.open and entry.amount > 0, do: entry.amount)
    %{book | entries: entries, total: rem(total, @limit * 2)}
  end

  @doc "The entries that begin with a prefix."
  def find(book, prefix, n) do
    unless prefix == "" or n < 1 do
      book.entries
      |> Enum.filter(fn entry -> String.starts_with?(String.downcase(entry.name), prefix) end)
      |> Enum.take(n)
    else
      []
    end
  end

  def largest(book) do
    amounts = Enum.map(book.entries, fn entry -> entry.amount end)

    if Enum.any?(amounts) && length(amounts) != 0 do
      max(hd(amounts), Enum.max(amounts))
    else
      -1
    end
  end

  def middle(low, high) do
    half = div(low + high, 2)
    if half >= high, do: low, else: half
  end

  def safely(fun, fallback \\ nil) do
    if not is_function(fun) do
      raise ArgumentError, "not a function"
    end

    fun.()
  rescue
    _error in RuntimeError -> fallback
  end

  def indexes(list), do: for(i <- 0..(length(list) - 1), do: Enum.at(list, i))
end
