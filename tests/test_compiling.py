import jax
import jax.numpy as jnp
import pytest

from crossearth_jax import compiling


@pytest.fixture(autouse=True)
def forget():
    compiling.lean_schedule.cache_clear()
    yield
    compiling.lean_schedule.cache_clear()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of a CPU")
def test_lean_schedule_is_an_option_that_the_compiler_takes():
    options = compiling.lean_schedule()
    assert options
    assert jax.jit(jnp.square, compiler_options=options)(3) == 9


def test_no_options_where_the_compiler_knows_none(monkeypatch):
    def refuses(_, compiler_options):
        raise jax.errors.JaxRuntimeError(f"No such compile option: {compiler_options}")

    monkeypatch.setattr(jax, "jit", refuses)
    assert compiling.lean_schedule() == {}


def test_no_options_on_other_platforms(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiling.lean_schedule() == {}


def test_memory_goes_back_after_long_compilations_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(compiling, "give_back_freed_memory", lambda: calls.append(1))
    event = "/jax/core/compile/backend_compile_duration"
    compiling._after_compiling(event, 0.1)
    compiling._after_compiling("/jax/core/compile/jaxpr_trace_duration", 9.0)
    assert not calls
    compiling._after_compiling(event, 9.0, fun_name="step")
    assert calls == [1]


def test_jax_reports_compilations_under_that_name():
    """What `set_up_compiler` listens to; another name would never be noticed."""
    heard = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: heard.append(event)
    )
    jax.jit(lambda x: x * 3.25 + 1)(2.0)
    assert any(event.endswith("backend_compile_duration") for event in heard)
