# An ExUnit formatter that writes one JSON object a line to the file named by FLYWHEEL_REPORT;
# lines.py says what the lines mean. It runs in a stranger's project and so needs nothing but
# Elixir itself: the JSON is encoded here. Every line is written at once, so that a suite that is
# killed has still said what it knew.
#
#     FLYWHEEL_REPORT=report.jsonl elixir -r exunit.ex -S mix test \
#         --formatter Flywheel.ExUnitFormatter

defmodule Flywheel.ExUnitFormatter do
  @moduledoc false
  use GenServer

  @impl true
  def init(_options) do
    {:ok, file} = File.open(System.fetch_env!("FLYWHEEL_REPORT"), [:write, :utf8])
    state = %{file: file, said: MapSet.new()}
    write(state, [{"start", true}])
    {:ok, state}
  end

  @impl true
  def handle_cast({:test_started, test}, state) do
    write(state, [{"begin", id(test)}])
    {:noreply, state}
  end

  def handle_cast({:test_finished, test}, state) do
    write(state, entry(test))
    {:noreply, %{state | said: MapSet.put(state.said, {test.module, test.name})}}
  end

  # When setup_all failed, some versions announce the module's tests as invalid one by one, and
  # others only the module: then its tests are written here.
  def handle_cast({:module_finished, %{state: {:failed, _}} = module}, state) do
    for test <- module.tests, not MapSet.member?(state.said, {test.module, test.name}) do
      write(state, entry(%{test | state: {:invalid, module}}))
    end

    {:noreply, state}
  end

  def handle_cast({:suite_finished, _times}, state) do
    write(state, [{"end", true}])
    File.close(state.file)
    {:noreply, state}
  end

  def handle_cast(_event, state), do: {:noreply, state}

  defp entry(test) do
    {outcome, failure} = outcome(test)

    [
      {"id", id(test)},
      {"path", path(test)},
      {"outcome", outcome},
      {"seconds", test.time / 1_000_000},
      {"failure", failure && Enum.to_list(failure)}
    ]
  end

  defp id(test), do: "#{path(test)}::#{name(test)}"

  defp path(test), do: Path.relative_to_cwd(to_string(test.tags[:file] || ""))

  # ExUnit's name of a test is "test DESCRIBE NAME": the description is known from its tags.
  defp name(test) do
    whole = to_string(test.name)
    kind = to_string(test.tags[:test_type] || :test)
    describe = test.tags[:describe]
    short = String.replace_prefix(whole, kind <> " ", "")
    short = if kind == "test", do: short, else: whole

    if describe do
      describe <> " / " <> String.replace_prefix(short, describe <> " ", "")
    else
      short
    end
  end

  defp outcome(%{state: nil}), do: {"passed", nil}
  defp outcome(%{state: {:skipped, _}}), do: {"skipped", nil}
  defp outcome(%{state: {:excluded, _}}), do: {"skipped", nil}

  defp outcome(%{state: {:invalid, module}} = test) do
    failures =
      case module do
        %{state: {:failed, failures}} -> failures
        _ -> []
      end

    {"error", failure(failures, test, "setup")}
  end

  defp outcome(%{state: {:failed, failures}} = test) do
    failure = failure(failures, test, "call")
    {if(failure["phase"] == "call", do: "failed", else: "error"), failure}
  end

  defp failure([], _test, phase) do
    %{"type" => "Failed", "message" => "", "assertion" => "", "traceback" => "", "phase" => phase}
  end

  defp failure([{kind, reason, stack} | _] = failures, test, phase) do
    %{
      "type" => type(kind, reason),
      "message" => message(kind, reason, stack),
      "assertion" => assertion(reason),
      "traceback" => Enum.map_join(failures, "\n\n", &text/1),
      "phase" => phase(stack, test, phase)
    }
  end

  defp type(:error, %module{}), do: inspect(module)
  defp type({:EXIT, _}, _), do: "EXIT"
  defp type(kind, _) when is_atom(kind), do: to_string(kind)
  defp type(_, _), do: "Failed"

  defp message(:error, %ExUnit.AssertionError{message: message}, _) when is_binary(message),
    do: message

  defp message(:error, %_{} = exception, _), do: Exception.message(exception)

  # The text of a linked process's exit ends in its stack: the exception is its own line of it.
  defp message({:EXIT, _}, {%_{} = exception, _stack}, _), do: Exception.message(exception)
  defp message(kind, reason, stack), do: Exception.format_banner(kind, reason, stack)

  defp assertion(%ExUnit.AssertionError{} = error) do
    none = ExUnit.AssertionError.no_value()

    [
      {"code: ", code(error.expr, none)},
      {"left: ", left(error, none)},
      {"right: ", value(error.right, none)}
    ]
    |> Enum.reject(fn {_, text} -> text == nil end)
    |> Enum.map_join("\n", fn {key, text} -> key <> text end)
  end

  defp assertion(_), do: ""

  defp code(none, none), do: nil
  defp code(text, _) when is_binary(text), do: text
  defp code(expression, _), do: Macro.to_string(expression)

  # Of a failed match the left side is a pattern: code, and no value.
  defp left(%{left: left} = error, none) do
    case Map.get(error, :context) do
      _ when left == none -> nil
      {:match, _} -> Macro.to_string(left)
      :match -> Macro.to_string(left)
      _ -> value(left, none)
    end
  end

  defp value(none, none), do: nil
  defp value(value, _), do: inspect(value, limit: 100, printable_limit: 2000)

  # A failure whose stack never enters the test itself happened in its setup.
  defp phase(stack, %{name: name, module: module}, "call") do
    frames = for {^module, function, _, _} <- List.wrap(stack), do: to_string(function)

    cond do
      Enum.any?(frames, &(&1 == to_string(name) or String.contains?(&1, to_string(name)))) ->
        "call"

      Enum.any?(frames, &String.starts_with?(&1, "__ex_unit_setup")) ->
        "setup"

      true ->
        "call"
    end
  end

  defp phase(_, _, phase), do: phase

  defp text({kind, reason, stack}) do
    stack = prune(List.wrap(stack))
    banner = banner(kind, reason, stack)
    if stack == [], do: banner, else: banner <> "\n" <> Exception.format_stacktrace(stack)
  end

  defp banner(:error, %ExUnit.AssertionError{} = error, _) do
    message = if is_binary(error.message), do: error.message, else: "Assertion failed"
    doctest = doctest(Map.get(error, :doctest), ExUnit.AssertionError.no_value())
    Enum.join([message | Enum.reject([doctest, assertion(error)], &(&1 == ""))], "\n")
  end

  defp banner(kind, reason, stack), do: Exception.format_banner(kind, reason, stack)

  defp doctest(text, none) when is_binary(text) and text != none, do: "doctest:\n" <> text
  defp doctest(_, _), do: ""

  # ExUnit's own frames say nothing of the project.
  defp prune(stack) do
    Enum.reject(stack, fn
      {module, _, _, _} ->
        name = inspect(module)
        module == :timer or String.starts_with?(name, "ExUnit.Runner") or name == "ExUnit.Assertions"

      _ ->
        false
    end)
  end

  defp write(state, entry), do: IO.write(state.file, [json(entry), ?\n])

  defp json(nil), do: "null"
  defp json(true), do: "true"
  defp json(false), do: "false"
  defp json(number) when is_integer(number), do: Integer.to_string(number)
  defp json(number) when is_float(number), do: :io_lib.format("~.6f", [number])

  defp json(text) when is_binary(text) do
    # Text that is no UTF-8, of a binary in a message, is shown as bytes.
    text = if String.valid?(text), do: text, else: inspect(text, binaries: :as_binaries)
    [?", for(<<point::utf8 <- text>>, do: escape(point)), ?"]
  end

  defp json(pairs) when is_list(pairs) do
    inner = Enum.map(pairs, fn {key, value} -> [json(key), ?:, json(value)] end)
    [?{, Enum.intersperse(inner, ?,), ?}]
  end

  defp escape(?"), do: "\\\""
  defp escape(?\\), do: "\\\\"
  defp escape(?\n), do: "\\n"
  # Line ends by Unicode's own rules would end a line of the report for some readers.
  defp escape(point) when point < 0x20 or point in [0x7F, 0x85, 0x2028, 0x2029] do
    "\\u" <> String.pad_leading(Integer.to_string(point, 16), 4, "0")
  end

  defp escape(point), do: <<point::utf8>>
end
