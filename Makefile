# What people type: make demo, make test, make lint, make interop, make ends, make torture, and make bench and its kin.
# Each builds .venv where it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST_PYTHON ?= $(PYTHON)
STORE_TESTS := $(addprefix tests/ctprep/store/test_,store.py store_bytes.py verify.py interoperability.py)
DEMO := demo
DEMO_COHORT := --scans 240
DEMO_TRAINING := --epochs 16 --validation 0.15 --test 0.35
DEMO_MINUTES := 4

.PHONY: demo test lint interop ends torture bench bench-scaling bench-augment bench-training bench-lungs bench-learning bench-gpu bench-statistics package clean

demo: $(VENV)/ready
	@echo "Scans, a store, a network and its scores, in $(DEMO)/: about $(DEMO_MINUTES) minutes on two cores."
	@$(MAKE) --no-print-directory $(DEMO)/montage.png $(DEMO)/results.txt
	@echo
	@echo "What the network says of scans of patients that it has not seen:"
	@echo
	@cat $(DEMO)/results.txt
	@echo
	@echo "Open    $(DEMO)/montage.png       slices of some scans of each class"
	@echo "        $(DEMO)/run/curves.png    how the training went"
	@echo "        $(DEMO)/results.txt       the table above; more in $(DEMO)/run/scores.json"
	@echo "Ask     $(BIN)/ctprep info $(DEMO)/scans.zarr"
	@echo "        $(BIN)/ctmodel predict $(DEMO)/run $(DEMO)/raw/CT-0/study_0002.nii.gz"

# Each step is done once; what was interrupted is done again, or resumed where it can be.
$(DEMO)/raw/truth.csv: | $(VENV)/ready
	@echo "1 of 4  Drawing synthetic chest CTs, half of them with pneumonia"
	@rm -rf $(DEMO)/raw
	@$(BIN)/ctprep phantom $(DEMO)/raw $(DEMO_COHORT)

$(DEMO)/scans.zarr/zarr.json: $(DEMO)/raw/truth.csv
	@echo "2 of 4  Converting them to a store"
	@$(BIN)/ctprep convert $(DEMO)/raw $(DEMO)/scans.zarr --labels $< \
	    --classes normal=CT-0 --classes abnormal=CT-1,CT-2,CT-3,CT-4
	@touch $@

$(DEMO)/montage.png: $(DEMO)/scans.zarr/zarr.json
	@echo "3 of 4  Drawing slices of them"
	@$(BIN)/ctprep montage $(DEMO)/scans.zarr $@

$(DEMO)/run/scores.json: $(DEMO)/scans.zarr/zarr.json
	@echo "4 of 4  Training a network, and scoring it on patients that it has not seen"
	@[ ! -e $@ ] || rm -rf $(DEMO)/run  # finished, but of an older store
	@$(BIN)/ctmodel train $(DEMO)/scans.zarr --run $(DEMO)/run --resume $(DEMO_TRAINING) > /dev/null

$(DEMO)/results.txt: $(DEMO)/run/scores.json
	@$(BIN)/ctmodel evaluate $(DEMO)/run > $@.part
	@mv $@.part $@

# A process for each core; python -m pytest runs the same tests in one.
test: $(VENV)/ready
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy ctprep ctmodel cli.py

# Which tools read a store as we do. What cannot be installed is tried again each time, and said to be missing.
interop: $(VENV)/ready $(VENV)/interop/ready $(VENV)/node/ready
	$(BIN)/python -m tests.reuse.matrix

# The store, written and read by the oldest and by the newest releases that setup.cfg allows; its bytes are the same.
# The newest need a newer Python: make ends NEWEST_PYTHON=python3.13.
ends: $(VENV)/oldest/ready $(VENV)/newest/ready
	$(VENV)/oldest/bin/python -m pytest $(STORE_TESTS)
	$(VENV)/newest/bin/python -m pytest $(STORE_TESTS)
	$(VENV)/newest/bin/python tests/dependency_ends.py outdated

$(VENV)/oldest/ready: setup.cfg tests/dependency_ends.py | $(VENV)/ready
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(BIN)/python tests/dependency_ends.py oldest > $(@D)/constraints.txt
	$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt --editable '.[read]'
	touch $@

$(VENV)/newest/ready: setup.cfg | $(VENV)/ready
	rm -rf $(@D)
	$(NEWEST_PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --editable '.[read]'
	touch $@

$(VENV)/interop/ready: tests/reuse/requirements.txt | $(VENV)/ready
	rm -rf $(@D)
	-$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

$(VENV)/node/ready: tests/reuse/package.json | $(VENV)/ready
	rm -rf $(@D) && mkdir $(@D) && cp $< $(@D)
	-npm install --prefix $(@D) --silent --no-audit --no-fund && touch $@

# make bench FULL=1 takes all scans. A peer that cannot be installed is tried again each time, and said to be missing.
bench: $(VENV)/ready $(VENV)/peers/monai/ready $(VENV)/peers/torchio/ready
	$(BIN)/python tests/benchmarks/conversion.py $(if $(FULL),--full)
	$(BIN)/python tests/benchmarks/streaming.py
	$(BIN)/python tests/benchmarks/integrity.py

# Memory, workers, start and many scans: a quarter of an hour.
bench-scaling: $(VENV)/ready
	$(BIN)/python tests/benchmarks/scheduling.py
	$(BIN)/python tests/benchmarks/scaling.py

# Training from the store over training from memory, precisions, checkpoints, folds together: a quarter of an hour
# without a GPU.
bench-training: $(VENV)/ready
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/training.py --network compact --augmented
	$(BIN)/python tests/benchmarks/crossval.py

# Kills, failing disks, damage and hostile files by the hundred thousand: two hours, and a table in tests/torture/RESULTS.md.
torture: $(VENV)/ready
	$(BIN)/python -m tests.torture

# What augmentation costs beside a step: a minute.
bench-augment: $(VENV)/ready
	$(BIN)/python tests/benchmarks/augmentation.py

# How often intervals hold the truth and comparisons find a difference: half an hour to an hour, and a table in
# tests/benchmarks/STATISTICS.md. Goes on where it was interrupted.
bench-statistics: $(VENV)/ready
	$(BIN)/python tests/benchmarks/simulated_statistics.py --keep $(VENV)/statistics
# What networks and baselines learn from 70 to 700 phantoms, over five seeds: days without a GPU. Goes on where it was
# interrupted, and writes tests/benchmarks/LEARNING.md.
bench-learning: $(VENV)/ready
	$(BIN)/python tests/benchmarks/learning.py --keep $(VENV)/learning

# How well and how fast lungs are found in phantoms, a picture of the ten worst, and what a crop costs: five minutes.
bench-lungs: $(VENV)/ready
	$(BIN)/python tests/benchmarks/lungs.py --picture lungs-worst.png
	$(BIN)/python tests/benchmarks/cropping.py

# What a GPU is fed and waits for; says so and ends where there is none.
bench-gpu: $(VENV)/ready
	$(BIN)/python tests/benchmarks/gpu.py

$(VENV)/peers/%/ready: tests/benchmarks/peers/%.txt | $(VENV)/ready
	rm -rf $(@D)
	-$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

# A wheel, installed without extras where nothing else is, gives a working ctprep.
package: $(VENV)/ready
	rm -rf build dist $(VENV)/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv $(VENV)/wheel
	$(VENV)/wheel/bin/pip install --quiet dist/ctprep-*.whl
	$(BIN)/python tests/check_wheel.py $(CURDIR)/$(VENV)/wheel/bin

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
