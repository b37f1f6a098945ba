/* One rank of the reference in OpenMPI. mpi_rank BYTES ROUNDS WARM_UP: rank 0 prints the milliseconds of each round, at
 * the slowest rank, as a JSON array. Fills and checks its buffer as the ranks of `muster bench collectives` do. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { pattern_length = 1021 };

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int rank = 0;
    int ranks = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 4) {
        fprintf(stderr, "usage: mpi_rank BYTES ROUNDS WARM_UP\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const int elements = (int)(atoll(argv[1]) / (long long)sizeof(float));
    const int rounds = atoi(argv[2]);
    float* data = malloc((size_t)elements * sizeof(float));
    double* times = malloc((size_t)rounds * sizeof(double));
    for (int round = -atoi(argv[3]); round < rounds; ++round) {
        for (int i = 0; i < elements; ++i) {
            data[i] = (float)(i % pattern_length + rank);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        const double begin = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, data, elements, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (round >= 0) {
            times[round] = (MPI_Wtime() - begin) * 1e3;
        }
    }
    for (int i = 0; i < elements; ++i) {
        if (data[i] != (float)(i % pattern_length * ranks + ranks * (ranks - 1) / 2)) {
            fprintf(stderr, "wrong sum at element %d\n", i);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    MPI_Reduce(rank == 0 ? MPI_IN_PLACE : times, times, rounds, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        for (int round = 0; round < rounds; ++round) {
            printf("%s%.6f", round == 0 ? "[" : ", ", times[round]);
        }
        printf("]\n");
    }
    free(times);
    free(data);
    MPI_Finalize();
    return 0;
}
