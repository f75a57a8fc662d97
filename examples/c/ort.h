/* The part of ONNX Runtime's C API that inspect_part.c uses, for machines without its header.
 *
 * ONNX Runtime keeps its functions in one table whose order never changes: a new version only adds
 * to its end. Names and places here are those of onnxruntime_c_api.h, version 1 of the API on; what
 * lies between is left out. With the real header (make ORT_INCLUDE=folder) this file is not used.
 */
#ifndef ORT_H
#define ORT_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 11 /* ONNX Runtime 1.11 and later know it */

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtModelMetadata OrtModelMetadata;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef OrtStatus *OrtStatusPtr;

#ifdef _WIN32
#define ORT_CALL __stdcall
typedef wchar_t ORTCHAR_T;
#else
#define ORT_CALL
typedef char ORTCHAR_T;
#endif

enum { ORT_LOGGING_LEVEL_ERROR = 3 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };
enum { OrtArenaAllocator = 1 };
enum { OrtMemTypeDefault = 0 };

typedef struct OrtApi {
    void *from_0[2];
    const char *(ORT_CALL *GetErrorMessage)(const OrtStatus *);
    OrtStatusPtr (ORT_CALL *CreateEnv)(int level, const char *name, OrtEnv **);
    void *from_4[3];
    OrtStatusPtr (ORT_CALL *CreateSession)(const OrtEnv *, const ORTCHAR_T *path,
                                           const OrtSessionOptions *, OrtSession **);
    void *from_8[1];
    OrtStatusPtr (ORT_CALL *Run)(OrtSession *, const OrtRunOptions *, const char *const *inputs,
                                 const OrtValue *const *values, size_t count,
                                 const char *const *outputs, size_t wanted, OrtValue **made);
    OrtStatusPtr (ORT_CALL *CreateSessionOptions)(OrtSessionOptions **);
    void *from_11[38];
    OrtStatusPtr (ORT_CALL *CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data,
                                                            size_t bytes, const int64_t *shape,
                                                            size_t sides, int type, OrtValue **);
    void *from_50[1];
    OrtStatusPtr (ORT_CALL *GetTensorMutableData)(OrtValue *, void **);
    void *from_52[10];
    OrtStatusPtr (ORT_CALL *GetDimensions)(const OrtTensorTypeAndShapeInfo *, int64_t *, size_t);
    void *from_63[2];
    OrtStatusPtr (ORT_CALL *GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **);
    void *from_66[3];
    OrtStatusPtr (ORT_CALL *CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **);
    void *from_70[8];
    OrtStatusPtr (ORT_CALL *GetAllocatorWithDefaultOptions)(OrtAllocator **);
    void *from_79[17];
    void (ORT_CALL *ReleaseValue)(OrtValue *);
    void *from_97[2];
    void (ORT_CALL *ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
    void *from_100[11];
    OrtStatusPtr (ORT_CALL *SessionGetModelMetadata)(const OrtSession *, OrtModelMetadata **);
    void *from_112[4];
    OrtStatusPtr (ORT_CALL *ModelMetadataLookupCustomMetadataMap)(const OrtModelMetadata *,
                                                                  OrtAllocator *, const char *key,
                                                                  char **value);
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(ORT_CALL *GetApi)(uint32_t version);
    const char *(ORT_CALL *GetVersionString)(void);
} OrtApiBase;

const OrtApiBase *ORT_CALL OrtGetApiBase(void);

#endif
