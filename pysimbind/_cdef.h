/* The C ABI of the compiled simulator: the only place where it is declared.
 *
 * cffi parses this file as it stands, and go_shim includes it, so that the C compiler checks the
 * exported Go functions against these prototypes. Keep to what cffi's parser reads: typedefs,
 * prototypes and integer #defines. Any change of meaning raises PSB_ABI_VERSION.
 *
 * Every array belongs to the caller and is row-major. Every function returns a PSB_ code; where it
 * is not PSB_OK, the text (UTF-8, NUL-terminated, cut to error_size) is in error.
 */

#define PSB_ABI_VERSION 1

#define PSB_NUM_COEFFS 15
#define PSB_NUM_OVERHEADS 4

#define PSB_OK 0
#define PSB_BAD_INPUT 1
#define PSB_BAD_HANDLE 2
#define PSB_PANIC 3

#define PSB_BLIS_2025_07 0

#define PSB_ENGINE_AUTO 0
#define PSB_ENGINE_REFERENCE 1
#define PSB_ENGINE_LEAP 2

/* Columns of the arrays summary and detail of psb_run. */
#define PSB_SUMMARY_OUTCOME 0
#define PSB_SUMMARY_STEPS 1
#define PSB_SUMMARY_PEAK_KV 2
#define PSB_SUMMARY_ENGINE 3
#define PSB_SUMMARY_COLUMNS 4
#define PSB_DETAIL_STATUS 0
#define PSB_DETAIL_CACHED 1
#define PSB_DETAIL_PREEMPTIONS 2
#define PSB_DETAIL_ROWS 3

typedef struct {
    int64_t num_requests;
    double *arrival_s;         /* [num_requests] */
    int64_t *input_tokens;     /* [num_requests] */
    int64_t *output_tokens;    /* [num_requests] */
    int64_t *prompt_offsets;   /* [num_requests + 1] into prompt_token_ids, or NULL: every id is unique */
    int32_t *prompt_token_ids;
    int64_t *output_offsets;   /* as prompt_offsets */
    int32_t *output_token_ids;
} psb_workload;

typedef struct {
    int64_t semantics;               /* PSB_BLIS_2025_07 */
    int64_t max_num_seqs;
    int64_t max_num_batched_tokens;
    int64_t block_size;
    int64_t num_gpu_blocks;          /* 0: unlimited */
    int64_t enable_prefix_caching;   /* 0 or 1 */
    double horizon_s;                /* infinity: none */
} psb_config;

int32_t psb_abi_version(void);

/* Number of handles that are open in this process. */
int64_t psb_open_handles(void);

/* Copies workload and config in; *handle is never reused. */
int32_t psb_open(psb_workload *workload, psb_config *config, uint64_t *handle,
                 char *error, int64_t error_size);

/* Simulates n candidates, coeffs [n, 15] in seconds and overheads [n, 4] in microseconds, on at
 * most workers threads (0: one per processor). Writes, per candidate, ttft [R] and e2e [R] in
 * seconds (NaN: never), summary [PSB_SUMMARY_COLUMNS], and, unless it is NULL, detail
 * [PSB_DETAIL_ROWS, R]. */
int32_t psb_run(uint64_t handle, int64_t n, double *coeffs, double *overheads,
                int32_t engine, int32_t workers,
                double *ttft, double *e2e, int64_t *summary, int32_t *detail,
                char *error, int64_t error_size);

int32_t psb_close(uint64_t handle, char *error, int64_t error_size);
