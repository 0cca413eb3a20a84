/* A driver for as many GPUs as FAKE_GPUS says; with FAKE_CRASH it is a broken one. */
#include <stdio.h>
#include <stdlib.h>

int cuInit(unsigned int flags) {
    if (getenv("FAKE_CRASH")) abort();
    return flags ? 1 : 0;
}

int cuDeviceGetCount(int *count) {
    const char *gpus = getenv("FAKE_GPUS");
    *count = gpus ? atoi(gpus) : 0;
    return 0;
}

int cuDeviceGet(int *device, int number) {
    *device = number;
    return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "GPU number %d", device);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)(device + 1) << 35;
    return 0;
}
