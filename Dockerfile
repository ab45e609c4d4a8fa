# An image that runs idbench.
#
#   docker build -t idbench .                              for the CPU
#   docker build -t idbench-gpu --build-arg DEVICE=gpu .   for an NVIDIA GPU, with ONNX Runtime's build for it
#   docker run --rm -v "$PWD/runs:/home/idbench/runs" idbench run
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG DEVICE=cpu

# Git records the commit; OpenCV needs the other two.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home idbench
WORKDIR /home/idbench
COPY . /opt/idbench
RUN python -m pip install --no-cache-dir -c /opt/idbench/constraints.txt /opt/idbench
RUN if [ "$DEVICE" = gpu ]; then \
        python -m pip uninstall --yes onnxruntime \
        && python -m pip install --no-cache-dir onnxruntime-gpu; \
    fi

USER idbench
ENV OMP_NUM_THREADS=1
ENTRYPOINT ["python", "-m", "bench"]
CMD ["--help"]
