/* The C ABI of the compiled simulator: the only place where it is declared.
 *
 * cffi parses this file as it stands, and go_shim includes it, so that the C compiler checks the
 * exported Go functions against these prototypes. Keep to what cffi's parser reads: typedefs,
 * prototypes and integer #defines. Any change of meaning raises PSB_ABI_VERSION.
 *
 * Every array belongs to the caller and is row-major. Every function returns a PSB_ code; where it
 * is not PSB_OK, the text (UTF-8, NUL-terminated, cut to error_size) is in error.
 */

#define PSB_ABI_VERSION 5

#define PSB_NUM_OVERHEADS 4

#define PSB_OK 0
#define PSB_BAD_INPUT 1
#define PSB_BAD_HANDLE 2
#define PSB_PANIC 3

#define PSB_BLIS_2025_07 0
#define PSB_VLLM_V1 1
#define PSB_VLLM_V1_0_9_1 2

#define PSB_ENGINE_AUTO 0
#define PSB_ENGINE_REFERENCE 1
#define PSB_ENGINE_LEAP 2

#define PSB_JACOBIAN_EXACT 0
#define PSB_JACOBIAN_RENEWAL 1

/* Columns of psb_output.summary. */
#define PSB_SUMMARY_OUTCOME 0
#define PSB_SUMMARY_STEPS 1
#define PSB_SUMMARY_PEAK_KV 2
#define PSB_SUMMARY_ENGINE 3
#define PSB_SUMMARY_COLUMNS 4

/* Rows of psb_output.detail. Steps are numbered from 0; -1: none. */
#define PSB_DETAIL_STATUS 0
#define PSB_DETAIL_CACHED 1
#define PSB_DETAIL_PREEMPTIONS 2
#define PSB_DETAIL_GENERATED 3
#define PSB_DETAIL_FIRST_STEP 4
#define PSB_DETAIL_LAST_STEP 5
#define PSB_DETAIL_BUSY_PERIOD 6
#define PSB_DETAIL_ROWS 7

/* Columns of psb_trace_output.times, in seconds, and of its counts. */
#define PSB_TIME_START 0
#define PSB_TIME_COMPOSED 1
#define PSB_TIME_DURATION 2
#define PSB_TIME_COLUMNS 3
#define PSB_COUNT_DECODE_TOKENS 0
#define PSB_COUNT_PREFILL_TOKENS 1
#define PSB_COUNT_MAX_PREFILL_TOKENS 2
#define PSB_COUNT_NUM_PREFILLS 3
#define PSB_COUNT_CONTEXT_TOKENS 4
#define PSB_COUNT_ATTENTION_PAIRS 5
#define PSB_COUNT_RUNNING 6
#define PSB_COUNT_WAITING 7
#define PSB_COUNT_KV_BLOCKS 8
#define PSB_COUNT_CACHED_TOKENS 9
#define PSB_COUNT_PREEMPTIONS 10
#define PSB_COUNT_COLUMNS 11

/* Columns of its entries: requests that a step scheduled, in the scheduler's order, and those that
 * it preempted, which have 0 tokens. */
#define PSB_ENTRY_STEP 0
#define PSB_ENTRY_REQUEST 1
#define PSB_ENTRY_TOKENS 2
#define PSB_ENTRY_CACHED_TOKENS 3
#define PSB_ENTRY_COLUMNS 4

typedef struct {
    int64_t num_requests;
    double *arrival_s;         /* [num_requests] */
    int64_t *input_tokens;     /* [num_requests] */
    int64_t *output_tokens;    /* [num_requests] */
    int64_t *prompt_offsets;   /* [num_requests + 1] into prompt_token_ids, or NULL: every id is unique */
    int32_t *prompt_token_ids;
    int64_t *output_offsets;   /* as prompt_offsets */
    int32_t *output_token_ids;
    int64_t max_concurrency;   /* 0: open loop */
} psb_workload;

typedef struct {
    int64_t semantics;               /* PSB_BLIS_2025_07 ... */
    int64_t max_num_seqs;
    int64_t max_num_batched_tokens;
    int64_t block_size;
    int64_t num_gpu_blocks;          /* 0: unlimited */
    int64_t max_model_len;           /* 0: no limit */
    int64_t long_prefill_token_threshold;
    int64_t enable_prefix_caching;   /* this and the next three: 0 or 1 */
    int64_t enable_chunked_prefill;
    int64_t scheduler_reserve_full_isl;
    int64_t async_scheduling;
    double watermark;
    double horizon_s;                /* infinity: none */
} psb_config;

/* Where the results of n candidates go. All but ttft, e2e and summary may be NULL. */
typedef struct {
    double *ttft;      /* [n, R] seconds; NaN: never */
    double *e2e;       /* [n, R] */
    int64_t *summary;  /* [n, PSB_SUMMARY_COLUMNS]; the peak is -1 where detail is NULL */
    int32_t *detail;   /* [n, PSB_DETAIL_ROWS, R] */
    double *sent;      /* [n, R] when the client sent each request, seconds; NaN: never */
    double *scheduled; /* [n, R] when the first step with each request began, seconds; NaN: never */
    double *jac_ttft;  /* [n, R, num_terms + 4] seconds per unit of each parameter; both or neither */
    double *jac_e2e;
    int64_t jacobian;  /* PSB_JACOBIAN_..., where they are wanted */
} psb_output;

/* Where the steps of one run go. Rows beyond a capacity are not written, but counted. */
typedef struct {
    int64_t step_capacity;
    double *times;           /* [step_capacity, PSB_TIME_COLUMNS] */
    int64_t *counts;         /* [step_capacity, PSB_COUNT_COLUMNS] */
    int64_t entry_capacity;
    int64_t *entries;        /* [entry_capacity, PSB_ENTRY_COLUMNS] */
    int64_t num_steps;       /* out */
    int64_t num_entries;     /* out */
} psb_trace_output;

int32_t psb_abi_version(void);

/* Number of handles that are open in this process. */
int64_t psb_open_handles(void);

/* Copies workload, config and the numbers of the model's terms in; *handle is never reused. Terms are
 * numbered in the order of pysimbind/models.py, to which new ones are appended: a number that the
 * library does not know is PSB_BAD_INPUT. The terms are the first num_terms where terms is NULL. */
int32_t psb_open(psb_workload *workload, psb_config *config, int64_t num_terms, int32_t *terms,
                 uint64_t *handle, char *error, int64_t error_size);

/* Simulates n candidates, coeffs [n, num_terms] in seconds and overheads [n, 4] in microseconds, on
 * at most workers threads (0: one per processor). arrival_s [n, R]: when each
 * candidate's requests are sent, in seconds, or NULL: as the workload has it. */
int32_t psb_run(uint64_t handle, int64_t n, double *coeffs, double *overheads, double *arrival_s,
                int32_t engine, int32_t workers, psb_output *output,
                char *error, int64_t error_size);

/* Simulates one candidate by the reference engine and writes what each step did. */
int32_t psb_trace(uint64_t handle, double *coeffs, double *overheads, psb_trace_output *output,
                  char *error, int64_t error_size);

int32_t psb_close(uint64_t handle, char *error, int64_t error_size);
