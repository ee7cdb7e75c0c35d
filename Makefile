# `make demo` and `make test` work alone on a machine that has Python 3.11 (or newer) and make. `make test` is for every
# change and takes minutes; `.ci/run` runs every target, also those that take longer.

# The first interpreter that really runs and is new enough; `make PYTHON=/path/to/python3.12` overrides it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Two workers with one thread each: the tests are small, and two threads of torch or BLAS in each would fight for the cores.
export OMP_NUM_THREADS := 1
# A worker that has done its half takes tests from the other, so that none waits for a long file.
PARALLEL := -n 2 --dist worksteal
OUT ?= demo

.PHONY: demo test slow node triton check shapes browser docs base-test clean

demo: .venv/ready
	env -u OMP_NUM_THREADS $(BIN)/flamehead demo --out $(OUT)

test: .venv/ready
	$(BIN)/python -m pytest $(PARALLEL) -m "not browser and not slow"

# What `make test` leaves out: long proofs (runs that are killed and go on, whatever is built twice and compared), real
# processes whose law an in-process test holds too, and large cases of laws whose small cases are in `make test`.
slow: .venv/ready
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not browser"

# Programs of npm that some tests ask for a second opinion; those tests skip where there is no npm, or nothing here.
NODE_PACKAGES := gltf-validator@2.0.0-dev.3.10 three@0.187.0
node:
	if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix .node $(NODE_PACKAGES); fi

# The kernels for CUDA, interpreted on the CPU: the variable must be set before triton is imported, so in a run of its
# own. Where triton is not installed (it has no wheels for macOS and Windows) there is nothing to run.
triton: .venv/ready
	if $(BIN)/python -c 'import triton' 2>/dev/null; then \
		TRITON_INTERPRET=1 $(BIN)/python -m pytest $(PARALLEL) $(INTERPRETED); fi

INTERPRETED := $(filter-out %_compile.py,$(wildcard tests/raster/test_triton*.py))

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --doctest-modules src/flamehead
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

# The array shapes in signatures, enforced while the tests run. Modules with compiled kernels cannot be listed (files
# named `_cpu*` or `_triton*`, and what lies in folders of such names), nor can those whose tests hand in wrong shapes
# on purpose; torch.compile does not see through the checks. Files of tests whose time goes into kernels and pictures
# are left out: other tests hand the same functions the same kinds of arrays.
ROOMS := geometry.camera geometry.landmark_sets geometry.normals geometry.rotation geometry.similarity solve \
	fit._correspondence fit._prepare fit._so3 fit._start fit.landmark_model fit.landmarks fit.metrics fit.residuals \
	model.lbs model.landmarks detect._window detect.schemes \
	assets.read_model assets.embeddings assets.masks assets.find assets.model_file \
	formats.cameras formats.graphics_cameras formats.weak_perspective \
	raster._grid raster._reference raster.fragments \
	render._samples render.marks render.shade render.sheet render.turntable render.views render.wireframe
LONG := $(addprefix tests/fit/test_,person.py photometric.py unwrap.py uncertainty.py views_rendered.py)
shapes: .venv/ready
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" -k "not compile and not wrong and not plain_torch and not own_row and not refus and not named and not one_size \
		and not albedo_is_one and not one_mesh and not by_name and not wants_rows and not no_prior" \
		--jaxtyping-packages=$(subst $() $(),,$(ROOMS:%=flamehead.%,))beartype.beartype \
		$(LONG:%=--ignore=%) tests/geometry tests/solve tests/fit tests/model tests/raster tests/render \
		tests/formats/test_camera_conventions.py tests/formats/test_drawing_cameras.py \
		tests/detect/test_window.py tests/detect/test_schemes.py \
		tests/assets/test_read_model.py tests/assets/test_embeddings.py tests/assets/test_find.py tests/test_pipeline.py

# The viewer in a real browser; its tests skip where Chromium is not installed.
browser: .venv/ready
	$(BIN)/python -m pytest -m browser tests

# The documentation site into ./site; a broken link, anchor or picture, or a page that is not in the menu, stops it.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# The base package alone, without extras, on NumPy 2: where NumPy's version or an absent extra can matter. That is what
# imports, reads and writes files, builds tables and takes arrays from users; of the rooms whose work torch and numba do,
# some files that go through their compiled kernels. The rest would only be run a second time.
BASE := assets base builtin detect evaluate export formats geometry io model test_imports.py test_public_api.py \
	$(addprefix cli/test_,usage.py assets_command.py bad_input.py convert_command.py fit_command.py) \
	$(addprefix fit/test_,bfm.py fit_landmarks.py fit_points.py landmark_model.py metrics.py photometric.py) \
	$(addprefix raster/test_,interpolate.py lanes.py) $(addprefix render/test_,deferred.py draw.py marks.py picture.py) \
	$(addprefix regress/test_,align.py checkpoint.py) $(addprefix track/test_,journal.py smooth.py)
# Slow ones among them run too (what is built anew, files of licensed kinds), but not those where NumPy plays no part,
# nor the layout alone: it is a part of the albedo's tests.
SAME := two_processes or 108_million or real_ctrl_c or first_run or vertices_keeps_them or without_opengl
base-test: .venv-base/ready
	.venv-base/bin/python -m pytest $(PARALLEL) -m "not detect and not browser" -k "not ($(SAME))" --ignore=tests/builtin/test_uv.py $(BASE:%=tests/%)

.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "flamehead needs Python 3.11 or newer; install it, or name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev,docs]"
	touch $@

.venv-base/ready: pyproject.toml constraints-base.txt
	$(PYTHON) -m venv .venv-base
	.venv-base/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-base.txt -e . \
		pytest pytest-timeout pytest-xdist hypothesis beartype
	touch $@

clean:
	rm -rf .venv .venv-base .node demo site
