// Lets a CPU build of PyTorch trace a backward pass over fake CUDA tensors: a device guard and
// hooks that say "one GPU" and do nothing. Compiled by simulate.py.
#include <ATen/detail/CUDAHooksInterface.h>
#include <Python.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

constexpr auto CUDA = c10::DeviceType::CUDA;

struct Guard : c10::impl::NoOpDeviceGuardImpl<CUDA> {
  c10::Device exchangeDevice(c10::Device) const override { return c10::Device(CUDA, 0); }
  c10::Device getDevice() const override { return c10::Device(CUDA, 0); }
  c10::Stream stream() const { return c10::Stream(c10::Stream::DEFAULT, c10::Device(CUDA, 0)); }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream s) const noexcept override { return s; }
};
static Guard guard;
static c10::impl::DeviceGuardImplRegistrar registrar(CUDA, &guard);

namespace at {
struct CUDAHooks : CUDAHooksInterface {
  CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return false; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex deviceCount() const override { return 1; }
};
REGISTER_CUDA_HOOKS(CUDAHooks);
}  // namespace at

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "fake_cuda", nullptr, -1, nullptr};
PyMODINIT_FUNC PyInit_fake_cuda(void) { return PyModule_Create(&module); }
